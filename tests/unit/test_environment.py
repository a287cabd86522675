"""What one run gets for itself before Ray is imported."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ess_ray.runtime import environment


def test_ports_are_out_of_the_kernels_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives its own away for connections: one was taken before Ray's dashboard listened on it."""
    told = tmp_path / "ip_local_port_range"
    told.write_text("20040\t60999\n")
    monkeypatch.setattr(environment, "_KERNEL_PORTS", told)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", environment.free_ports(1)[0]))
        found = environment.free_ports(20)
        assert taken.getsockname()[1] not in found
    assert len(set(found)) == 20
    assert all(20_000 <= port < 20_040 for port in found)


@pytest.mark.parametrize("told", ["1024 65535", "", None])
def test_without_such_ports_the_kernel_is_asked(
    told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ip_local_port_range"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(environment, "_KERNEL_PORTS", file)
    assert len(set(environment.free_ports(20))) == 20
