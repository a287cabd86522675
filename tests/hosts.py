"""Hosts on this machine: network, process, mount and IPC namespaces with an sshd each, on a bridge of their own.

They reach each other and this machine's end of the bridge, and nothing else: nobody forwards.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.servers import or_skip

REPOSITORY: Final = Path(__file__).parents[1]
PROGRAMS: Final = ("ip", "unshare", "nsenter", "sshd", "ssh-keygen", "rsync", "setpriv")
PRIVATE: Final = ("/dev/shm", "/tmp/ray", "/run/sshd")
"""Folders of each host's own: shared memory, the state of Ray's launcher and of sshd."""
START_S: Final = 20.0
COMMAND_S: Final = 180.0


def _root(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@dataclass
class Host:
    """One host: its address, its home folder, and the first process of its PID namespace."""

    name: str
    address: str
    home: Path
    launcher: subprocess.Popen[bytes]
    init: psutil.Process

    def command(self, script: str) -> list[str]:
        enter = ["nsenter", f"--target={self.init.pid}", "--mount", "--pid", "--net", "--ipc", "--uts"]
        return [*enter, "env", f"HOME={self.home}", f"--chdir={self.home}", "bash", "-c", f". ~/.bashrc; {script}"]

    def run(self, script: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell script as root of this host; fails the test unless it ends with 0. Gives its output."""
        assert self.alone()
        done = subprocess.run(
            self.command(script),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{self.name}: {script}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def alone(self) -> bool:
        """Tell whether this host has a PID namespace of its own, so that nothing on it can end what is not its own."""
        return os.readlink(f"/proc/{self.init.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")

    def processes(self) -> list[psutil.Process]:
        """Every process of this host, seen from outside."""
        return self.init.children(recursive=True)

    def kill(self) -> None:
        """kill -9 everything on this host at once: with the first process of a PID namespace the kernel ends all."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.init.kill()
        self.launcher.wait(START_S)


@contextlib.contextmanager
def hosts(folder: Path, names: Sequence[str], shell: str) -> Iterator[tuple[str, dict[str, Host]]]:
    """Make hosts whose shells start with `shell`; gives this machine's address on their bridge, and the hosts.

    Everything goes with the context. Without root or a program: a skip, and with CI=true and root a failure.
    """
    if os.geteuid() != 0:
        import pytest

        pytest.skip("hosts in network namespaces can only be made by root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        or_skip(f"not on the PATH: {', '.join(missing)} (make servers)")
    number = random.randrange(1, 255)
    bridge, network = f"ess{os.getpid()}", f"10.213.{number}"
    made: dict[str, Host] = {}
    with contextlib.ExitStack() as ending:
        _root("ip", "link", "add", bridge, "type", "bridge")
        ending.callback(_root, "ip", "link", "delete", bridge)
        _root("ip", "address", "add", f"{network}.1/24", "dev", bridge)
        _root("ip", "link", "set", bridge, "up")
        for path in PRIVATE:
            Path(path).mkdir(exist_ok=True)
        _root("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
        for place, name in enumerate(names, start=2):
            made[name] = _host(folder / name, name, f"{network}.{place}", bridge, folder / "key", shell, ending)
        yield f"{network}.1", made


def _host(
    home: Path, name: str, address: str, bridge: str, key: Path, shell: str, ending: contextlib.ExitStack
) -> Host:
    home.mkdir()
    (home / ".bashrc").write_text(shell)
    shutil.copy(key, home / "key")
    (home / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    config = home / "sshd_config"
    config.write_text(
        f"ListenAddress {address}\nHostKey {key}\nPidFile none\nStrictModes no\nPermitRootLogin prohibit-password\n"
        f"AuthorizedKeysFile {home / 'authorized_keys'}\nPasswordAuthentication no\nUsePAM no\nUseDNS no\n"
        f"MaxStartups 100\nMaxSessions 100\n"
    )
    namespace, link = f"{bridge}-{name}", f"{bridge}{address.rpartition('.')[2]}"
    _root("ip", "netns", "add", namespace)
    ending.callback(_root, "ip", "netns", "delete", namespace)
    _root("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _root("ip", "link", "set", link, "master", bridge, "up")
    _root("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _root("ip", "-n", namespace, "link", "set", device, "up")
    # Ray takes the address towards the internet for its own, and loopback without such a route. This one ends on the
    # bridge, where nobody answers for addresses outside.
    _root("ip", "-n", namespace, "route", "add", "default", "dev", "eth0")
    mounts = "".join(f"mount -t tmpfs -o mode=755 tmpfs {path} && " for path in PRIVATE)
    # ssh asks the list of users for root's home, whatever HOME says: each host has a list of its own.
    users = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")]
    (home / "passwd").write_text("\n".join([f"root:x:0:0:root:{home}:/bin/bash", *users, ""]))
    mounts += f"mount --bind {home / 'passwd'} /etc/passwd && "
    inside = f"hostname {name} && {mounts}exec {shutil.which('sshd')} -D -e -f {config}"
    unshare = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
    with (home / "sshd.log").open("wb") as log:
        launcher = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *unshare, "sh", "-c", inside],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    ending.callback(_forget, home)
    ending.callback(_end, launcher)
    deadline = time.monotonic() + START_S
    while "Server listening" not in (home / "sshd.log").read_text():
        assert launcher.poll() is None, (home / "sshd.log").read_text()
        assert time.monotonic() < deadline, (home / "sshd.log").read_text()
        time.sleep(0.02)
    (init,) = psutil.Process(launcher.pid).children()
    return Host(name, address, home, launcher, init)


def _forget(home: Path) -> None:
    """Remove what a node of a cluster has made in /tmp, which is this machine's."""
    for file in home.glob(".ess/node-*"):
        shutil.rmtree(file.read_text().strip(), ignore_errors=True)


def _end(launcher: subprocess.Popen[bytes]) -> None:
    # Its child, the first process of the PID namespace, is killed with it, and with that all others.
    with contextlib.suppress(psutil.NoSuchProcess):
        for init in psutil.Process(launcher.pid).children():
            init.kill()
    launcher.kill()
    launcher.wait(START_S)


def shell_of(variables: dict[str, str]) -> str:
    """Give the start-up file of a shell that finds this Python, its programs and this repository."""
    path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = {"PATH": path, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return "".join(f"export {name}='{value}'\n" for name, value in lines.items())
