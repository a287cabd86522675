"""Programs that send syslog, unmodified, configured as the documents have it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doors import Doors
from tests.servers import needs
from tests.snippets import snippet
from tests.systems import wait_until

RSYSLOG = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
UNPACKED = Path(__file__).parents[3] / "build" / "syslog-ng"
"""Debian has it and rsyslog exclude each other, so that `make servers` unpacks it beside the other one."""

needs_rsyslog = needs(Path(RSYSLOG).exists(), "rsyslog")
needs_syslog_ng = needs((UNPACKED / "usr/sbin/syslog-ng").exists(), "syslog-ng")


@contextmanager
def daemon(command: list[str], socket: Path, **environment: str) -> Iterator[None]:
    """Run one until the context ends, once it takes messages at a socket of its own."""
    with (socket.parent / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        try:
            wait_until(lambda: socket.exists() or process.poll() is not None, "it takes nothing")
            assert process.poll() is None, (socket.parent / "said").read_text()
            yield
        finally:
            process.terminate()
            process.wait(60)


def say(socket: Path, word: str) -> None:
    """Have a program of the machine log a line."""
    command = ["logger", "--socket", str(socket), "--tag", "payments", "--priority", "local3.err", f"{word} declined"]
    subprocess.run(command, check=True, timeout=30)


@contextmanager
def rsyslog(folder: Path, configuration: str) -> Iterator[Path]:
    """Give the socket of an rsyslog that does what a snippet says."""
    socket, file = folder / "log", folder / "rsyslog.conf"
    file.write_text(
        f'global(workDirectory="{folder}")\nmodule(load="imuxsock" SysSock.Use="off")\n'
        f'input(type="imuxsock" Socket="{socket}")\n{configuration}'
    )
    with daemon([RSYSLOG, "-n", "-f", str(file), "-i", str(folder / "pid")], socket):
        yield socket


@contextmanager
def syslog_ng(folder: Path, configuration: str) -> Iterator[Path]:
    """Give the socket of a syslog-ng that does what a snippet says."""
    socket, file, own = folder / "log", folder / "syslog-ng.conf", UNPACKED / "usr/lib/syslog-ng"
    (version,) = (each.name for each in own.iterdir() if each.is_dir())
    file.write_text(f'@version: {version}\nsource s_src {{ unix-dgram("{socket}"); }};\n{configuration}')
    command = [str(UNPACKED / "usr/sbin/syslog-ng"), "--foreground", "--no-caps", "--cfgfile", str(file)]
    files = {"persist-file": "persist", "pidfile": "pid", "control": "control"}
    command += [f"--{option}={folder / name}" for option, name in files.items()]
    with daemon([*command, f"--module-path={own / version}"], socket, LD_LIBRARY_PATH=str(own)):
        yield socket


def is_an_event(doors: Doors, word: str, tenant: str = "default") -> None:
    (row,) = doors.found(word)
    assert (row["service"], row["level"], row["tenant"]) == ("payments", "ERROR", tenant)
    assert row["message"].strip() == f"{word} declined"
    assert row["host"]


@needs_rsyslog
@pytest.mark.parametrize("how", ["TCP_Framing", 'protocol="udp"'])
def test_rsyslog(doors: Doors, tmp_path: Path, how: str) -> None:
    port = doors.ports["syslog_udp" if "udp" in how else "syslog_tcp"]
    holding = 'filename="ess"' if how == "TCP_Framing" else how
    word = "rsyslog" + "".join(filter(str.isalpha, how)).lower()
    with rsyslog(tmp_path, snippet("syslog.md", holding, {"5514": str(port)})) as socket:
        say(socket, word)
        is_an_event(doors, word)


@needs_rsyslog
def test_rsyslog_over_tls_writes_into_its_certificates_tenant(doors: Doors, tmp_path: Path, certificates: Path) -> None:
    places = {"6514": str(doors.ports["syslog_tls"]), "/etc/ess": str(certificates)}
    with rsyslog(tmp_path, snippet("syslog.md", 'filename="ess_tls"', places)) as socket:
        say(socket, "rsyslogtls")
        is_an_event(doors, "rsyslogtls", "shop")


@needs_rsyslog
def test_rsyslog_to_elasticsearchs_port(doors: Doors, tmp_path: Path) -> None:
    text = snippet("elasticsearch.md", "omelasticsearch", {"9200": str(doors.ports["elasticsearch"])})
    with rsyslog(tmp_path, text) as socket:
        say(socket, "rsyslogelastic")
        is_an_event(doors, "rsyslogelastic")


@needs_syslog_ng
def test_syslog_ng(doors: Doors, tmp_path: Path) -> None:
    # Where nothing else is said its disk buffer lies beside what the package installs, which is not installed here.
    places = {"5514": str(doors.ports["syslog_tcp"]), "reliable(yes)": f'dir("{tmp_path}") reliable(yes)'}
    with syslog_ng(tmp_path, snippet("syslog.md", "destination d_ess {", places)) as socket:
        say(socket, "syslogng")
        is_an_event(doors, "syslogng")


@needs_syslog_ng
def test_syslog_ng_over_tls(doors: Doors, tmp_path: Path, certificates: Path) -> None:
    places = {"6514": str(doors.ports["syslog_tls"]), "/etc/ess": str(certificates)}
    with syslog_ng(tmp_path, snippet("syslog.md", "d_ess_tls", places)) as socket:
        say(socket, "syslogngtls")
        is_an_event(doors, "syslogngtls", "shop")


@pytest.mark.skipif(shutil.which("logger") is None, reason="this machine has no logger")
def test_logger(doors: Doors) -> None:
    places = {"5514": str(doors.ports["syslog_tcp"]), "card": "loggerword"}
    text = snippet("syslog.md", "logger --server", places)
    subprocess.run(["sh", "-ec", text], check=True, timeout=30)
    (row,) = doors.found("loggerword declined")
    assert (row["service"], row["level"]) == ("payments", "NOTICE")
