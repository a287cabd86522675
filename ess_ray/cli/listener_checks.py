"""The checks of `ess doctor` on the listeners: which protocols are taken where, and why one is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ess_ray.cli.server_checks import Check, State

_TENANT = "name the tenant as listeners.{}.tenant; on loopback, too, every user of a machine reaches a port"
_FILES = "see that the system's user can read the files, and that certificate and key belong together"
_PORT = "choose another port as listeners.{}.port"


def listener_checks(told: Iterable[Mapping[str, Any]]) -> Iterator[Check]:
    """Say of each protocol of a status' `listeners` how it is."""
    for each in told:
        where = f"{each['protocol']} on {each['host']}:{each['port']}"
        if each["state"] == "on":
            well = Check("listener", "ok", f"{where}, for tenant {each['tenant']}")
            yield Check("listener", "warning", f"{where}: {each['why']}", _FILES) if each["why"] else well
            continue
        state: State = "failed" if each["state"] == "failed" else "warning"
        advice = (_PORT if each["why"].startswith("port ") else _TENANT).format(each["protocol"])
        if state == "failed" and not each["why"].startswith("port "):
            advice = f"correct listeners.{each['protocol']} in the settings"
        yield Check("listener", state, f"{where} is {each['state']}: {each['why'] or 'it has just begun'}", advice)
