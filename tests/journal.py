"""Journals in systemd's export format, as `systemd-journal-upload` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Fields = Iterable[tuple[str, bytes]]


def field(name: str, value: bytes) -> bytes:
    """Write a field: as a line where the value has none of its own, else as binary."""
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def entry(fields: Fields) -> bytes:
    """Write an entry."""
    return b"".join(field(name, value) for name, value in fields) + b"\n"


def usual(number: int, message: str = "", **more: str) -> bytes:
    """Write an entry as a service has it."""
    fields: Mapping[str, str] = {
        "__CURSOR": f"s=0f1e;i={number:x};b=77aa;m=1;t=5d;x={number:x}",
        "__REALTIME_TIMESTAMP": str(1_789_999_999_000_000 + number),
        "__MONOTONIC_TIMESTAMP": "81233",
        "_BOOT_ID": "77aa",
        "PRIORITY": "4",
        "_MACHINE_ID": "c0ffee",
        "_HOSTNAME": "web-1",
        "SYSLOG_IDENTIFIER": "payments",
        "_PID": "411",
        "_SYSTEMD_UNIT": "payments.service",
        "MESSAGE": message or f"card declined {number}",
        **more,
    }
    return entry((name, value.encode()) for name, value in fields.items())
