# On a fresh Debian 12 or Ubuntu 24.04, `make run` is all that is needed.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
FUZZ_STAMP := $(VENV)/.installed-fuzz
# The oldest that serves, whichever of them the distribution has; pyenv names versions that it has not, so each is tried.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
  $$python -c "" 2>/dev/null && command -v $$python && break; done)
DEMO_EVENTS ?= 20000
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: help setup web npm run dist test chaos fuzz servers clients chromium screenshots lint format bench scale lock clean
.DEFAULT_GOAL := help

help:
	@echo "make run    start a system on this machine with some made-up events (Ctrl-C ends it)"
	@echo "make test   lint, then all tests but chaos, fuzz and benchmarks"
	@echo "make chaos  break running systems under load, print what was lost (CHAOS='-k embedded' breaks some,"
	@echo "            CHAOS=processes each single process, CHAOS=soak one at random for SOAK_MINUTES, 60)"
	@echo "make fuzz   minutes of made-up input against everything that reads (FUZZ='-k record' tries a part)"
	@echo "make lint   ruff, mypy and the rules about imports; eslint, prettier and tsc"
	@echo "make bench  measure, and print tables (BENCH='--quick --only rivals' measures a part, small)"
	@echo "make scale  the parts of it that tell how it grows: 100,000 objects, one worker and two, a larger pool"
	@echo "make lock   pin the dependencies of pyproject.toml anew"
	@echo "make web    build the web page (needs npm; make run does it where npm is there)"
	@echo "make dist   build a wheel and a source archive with the page inside, to be installed elsewhere with pip"
	@echo "make screenshots  take the README's pictures of the page anew"
	@echo "make setup  make $(VENV) (the others do it too)"

setup: $(STAMP)

# Runs again only when the lock or the package's metadata change. The package is editable: sources need no reinstall.
# setuptools comes from the lock, hence no build isolation: nothing is fetched that is not pinned by its hash.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.14 is missing: install it, or say PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.14: say PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends "$$package"; \
	  else \
	    echo "Python's venv module is missing: sudo apt-get install $$package" >&2; exit 1; \
	  fi; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The web page. npm is asked for nothing that the lock does not name.
WEB := deployments/web
WEB_MODULES := $(WEB)/node_modules/.installed
WEB_DIST := $(WEB)/dist/index.html
WEB_SOURCES := $(shell find $(WEB)/src -type f) $(wildcard $(WEB)/*.json $(WEB)/*.ts $(WEB)/*.js $(WEB)/*.html)
web: $(WEB_DIST)

$(WEB_MODULES): $(WEB)/package-lock.json $(WEB)/package.json $(WEB)/.npmrc | npm
	cd $(WEB) && npm ci --silent
	@touch $@

$(WEB_DIST): $(WEB_MODULES) $(WEB_SOURCES)
	cd $(WEB) && npm run --silent build
	@touch $@

# Debian's npm comes with Node.js 18, which is enough. Nothing else here needs it.
npm:
	@command -v npm >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends npm; \
	  else \
	    echo "npm is missing: sudo apt-get install npm" >&2; exit 1; \
	  fi; }

run: setup
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web; else echo "npm is missing."; false; fi \
	  || echo "The web page is not built; everything else works. make web tries again."
	$(BIN)/ess up --demo-events $(DEMO_EVENTS)

# What pip installs without npm and without this checkout. The wheel is made of the source archive, in a folder of its own.
dist: setup web
	rm -rf dist
	$(BIN)/uv build --quiet --offline --no-build-isolation --python $(BIN)/python --out-dir dist
	@ls -l dist/*.whl dist/*.tar.gz

# Unit and property tests start no servers and no systems, so that as many run at a time as there are CPUs. Scenarios run
# whole systems: two that start at once on two cores take a minute each, and more than a slow machine has. Others mostly wait
# for the servers that they started: two files at a time. A browser wants the machine for itself.
ALONE := tests/unit tests/property
APART := tests/browser tests/chaos tests/clients tests/fuzz tests/benchmarks
LONG := tests/scenarios
IN_PAIRS := $(filter-out $(ALONE) $(APART) $(LONG) tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)))
test: lint servers clients chromium web
	cd $(WEB) && npm run --silent test
	$(BIN)/python -m pytest $(ALONE) -n auto
	$(BIN)/python -m pytest $(LONG) -m "not slow"
	$(BIN)/python -m pytest $(IN_PAIRS) -n 2 --dist loadfile
	$(BIN)/python -m pytest tests/browser

# Every fault under load, and the slow scenarios: 60 minutes. Only a run of all rows writes the results. What is random comes from CHAOS_SEED, which
# is printed; CHAOS_EVENTS is how many a row wants. `processes` kills each process of a system and stops it for two minutes,
# two hours. `soak` leaves tables and a picture in build/soak.
chaos: setup servers
ifeq ($(CHAOS),soak)
	$(BIN)/python -m tests.chaos.soak
else ifeq ($(CHAOS),processes)
	$(BIN)/python -m pytest tests/chaos/test_processes.py --chaos-results tests/chaos/PROCESSES.md
else
	$(if $(CHAOS),,$(BIN)/python -m pytest $(LONG) -m slow)
	$(BIN)/python -m pytest tests/chaos --ignore tests/chaos/test_processes.py $(or $(CHAOS),--chaos-results tests/chaos/RESULTS.md)
endif

# Coverage-guided input wants a package of its own. FUZZ_SECONDS=600 gives each fuzzer ten minutes.
$(FUZZ_STAMP): $(STAMP) requirements.fuzz.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.fuzz.lock
	@touch $@

# Requests, records, objects and queries that were made up, at random: seeds are printed. What it finds becomes a test.
# The property tests of `make test` look at sixteen times as much here.
fuzz: $(FUZZ_STAMP)
	$(BIN)/python -m pytest tests/fuzz $(FUZZ)
ifndef FUZZ
	PROPERTY_SHARE=4 $(BIN)/python -m pytest tests/property -n auto
endif

# Tests run real servers: Kafka on Java, which Maven fetches (infra/kafka), Redis, and sshd
# on hosts in network namespaces. (The S3 server is a wheel.) faketime lets a system's clock jump.
# Agents run against them as they are. Debian has rsyslog and syslog-ng exclude each other: the latter is unpacked, with
# what it needs installed.
# Where they cannot be had their tests are skipped, visibly, and fail under CI=true.
SERVERS := java:default-jre-headless mvn:maven redis-server:redis-server sshd:openssh-server rsync:rsync faketime:faketime \
  openssl:openssl logger:bsdutils rsyslogd:rsyslog /usr/lib/*/rsyslog/lmnsd_gtls.so:rsyslog-gnutls \
  /usr/lib/*/rsyslog/omelasticsearch.so:rsyslog-elasticsearch /lib/systemd/systemd-journal-upload:systemd-journal-remote \
  prometheus-alertmanager:prometheus-alertmanager
SYSLOG_NG := build/syslog-ng
servers: $(SYSLOG_NG)/usr/sbin/syslog-ng
	@for pair in $(SERVERS); do command -v "$${pair%%:*}" >/dev/null || test -e $${pair%%:*} || missing="$$missing $${pair##*:}"; done; \
	test -z "$$missing" || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends $$missing; \
	  else \
	    echo "Some tests are skipped, for want of servers: sudo apt-get install$$missing" >&2; test "$$CI" != true; \
	  fi; }

$(SYSLOG_NG)/usr/sbin/syslog-ng:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && apt-get install -y -q --no-install-recommends \
	    $$(apt-cache depends --important syslog-ng-core | sed -n 's/^ *Depends: \([^<]*\)$$/\1/p') && \
	  mkdir -p build && cd build && apt-get download -q syslog-ng-core && \
	  for package in syslog-ng-core_*.deb; do dpkg-deb --extract "$$package" syslog-ng && rm "$$package"; done && \
	  touch syslog-ng/usr/sbin/syslog-ng; \
	else \
	  echo "The tests of syslog-ng are skipped, for want of its files in $(SYSLOG_NG)." >&2; test "$$CI" != true; \
	fi

# Clients of JavaScript that tests run as they are. npm is asked for nothing that the lock does not name.
CLIENTS := tests/clients
clients: $(CLIENTS)/node_modules/.installed
$(CLIENTS)/node_modules/.installed: $(CLIENTS)/package-lock.json $(CLIENTS)/package.json $(CLIENTS)/.npmrc | npm
	cd $(CLIENTS) && npm ci --silent
	@touch $@

# The page is tested in Chromium. Debian has it; Ubuntu has it as a snap only: a machine without it still runs the other tests.
chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -q && apt-get install -y -q --no-install-recommends chromium; } || { \
	  echo "The tests of the web page are skipped, for want of a program named chromium." >&2; test "$$CI" != true; }

# Pictures of made-up events, in deployments/web/screenshots.
screenshots: setup chromium web
	$(BIN)/python -m tests.browser.screenshots

lint: setup $(WEB_MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd $(WEB) && npm run --silent typecheck && npm run --silent lint

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Other engines to compare with, on top of what is there: only measuring needs them.
$(BENCH_STAMP): $(STAMP) requirements.bench.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.bench.lock
	@touch $@

bench: $(BENCH_STAMP)
	$(BIN)/python -m tests.benchmarks $(BENCH)

scale: $(BENCH_STAMP)
	$(BIN)/python -m tests.benchmarks --only plan,workers,datasets,balance

# No address of an index is written down. The image gets what running needs, at the same versions.
lock: setup
	$(BIN)/$(COMPILE) --extra dev --extra build pyproject.toml --output-file requirements.lock
	$(BIN)/$(COMPILE) --extra build --constraint requirements.lock pyproject.toml --output-file requirements.image.lock
	$(BIN)/$(COMPILE) --extra bench --constraint requirements.lock pyproject.toml --output-file requirements.bench.lock
	$(BIN)/$(COMPILE) --extra fuzz --constraint requirements.lock pyproject.toml --output-file requirements.fuzz.lock

clean:
	rm -rf $(VENV) $(WEB)/node_modules $(WEB)/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
