"""All ways in for all agents: each test's events have a word that no other's have."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors import Doors


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's pair, and that of a client that is called web-1.example.com; each vouches for itself."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("logs.example.com", "web-1.example.com"):
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files]
        subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
        subprocess.run([*command, *subject], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="package")
def doors(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Doors]:
    server, client = (certificates / f"{name}.example.com" for name in ("logs", "web-1"))
    made = Doors(
        tmp_path_factory.mktemp("doors"),
        cert_file=f"{server}.crt",
        key_file=f"{server}.key",
        client_ca_file=f"{client}.crt",
        client_tenants=(("web-1.example.com", "shop"),),
    )
    with made.opened():
        yield made
