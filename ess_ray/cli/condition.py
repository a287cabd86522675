"""How a system is, in a dozen lines for people: what comes in, what waits, what is stored, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Line = tuple[str, str]
"""(what, how it is)."""

_TOLD_ELSEWHERE: Final = ("http.port",)
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def in_bytes(count: float) -> str:
    """Write a size in three figures."""
    for unit in _UNITS[:-1]:
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} {_UNITS[-1]}"


def lines_of(url: str, found: Mapping[str, Any], problems: Iterable[str]) -> Iterator[Line]:
    """Give the lines of a status; what an older or newer system does not tell is left out."""
    yield "address", url
    yield from _ports(found)
    yield "state", "not healthy" if [*problems] else "well: events are taken, complete answers possible"
    pool, log, table = (found.get(name) or {} for name in ("pool", "log", "table"))
    actors: list[Mapping[str, Any]] = [*(pool.get("actors") or {}).values()]
    if "events_per_s" in pool:
        yield "events", f"{pool['events_per_s']:,.0f} a second"
    if "lag_records" in log:
        yield "lag", _lag(log, actors)
    if table:
        yield "storage", f"{table['rows']:,} events in {table['objects']:,} objects, {in_bytes(table['bytes'])}"
    if found.get("disk"):
        yield "disk", f"{in_bytes(found['disk']['free_bytes'])} free of {in_bytes(found['disk']['total_bytes'])}"
    if log:
        yield "log", _log(log)
    letters = found.get("dead_letters")
    if letters and letters["records"]:
        yield "dead letters", f"{letters['records']:,} records that cannot be read, {in_bytes(letters['bytes'])}"
    if pool:
        yield "pool", f"{sum(bool(one.get('host')) for one in actors)} of {pool.get('wanted', len(actors))} actors work"
    if found.get("replicas"):
        yield "replicas", "; ".join(f"{name} {_states(states)}" for name, states in sorted(found["replicas"].items()))
    for listener in found.get("listeners") or ():
        yield "listener", _listener(listener)
    if found.get("dashboard"):
        yield "dashboard", str(found["dashboard"])
    for node in found.get("nodes") or ():
        yield "metrics", f"http://{node['metrics']}/metrics" if node["alive"] else f"{node['host']} is dead"


def _ports(found: Mapping[str, Any]) -> Iterator[Line]:
    """Tell the ports beside the address; a listener has a line of its own."""
    for at in found.get("ports") or ():
        if at["setting"] not in _TOLD_ELSEWHERE and not at["setting"].startswith("listeners."):
            yield "port", f"{at['setting']} on {at['host']}:{at['port']}"


def _listener(told: Mapping[str, Any]) -> str:
    """Tell where a protocol is listened for and what came, or why not."""
    where = f"{told['protocol']} on {told['host']}:{told['port']}"
    if told["state"] != "on":
        return f"{where}: {told['state']}" + (f", {told['why']}" if told["why"] else "")
    lost = [f"{count:,} {reason}" for reason, count in sorted(told["rejected"].items())]
    if told["udp_drops"]:
        lost.append(f"{told['udp_drops']:,} datagrams dropped by the kernel")
    parts = [] if told["transport"] == "udp" else [f"{told['connections']:,} connections"]
    parts += [f"{told['events']:,} events", in_bytes(told["bytes"])]
    return f"{where}: {', '.join(parts)}" + (f"; not taken: {', '.join(lost)}" if lost else "")


def _lag(log: Mapping[str, Any], actors: Iterable[Mapping[str, Any]]) -> str:
    """Tell what is not stored yet, which searches find all the same."""
    buffered = sum(actor.get("buffered_bytes", 0) for actor in actors)
    if not log["lag_records"]:
        return "none, all is stored"
    oldest_s = max((actor.get("oldest_s", 0.0) for actor in actors), default=0.0)
    return (
        f"{log['lag_records']:,} records of the log are not stored yet: {in_bytes(buffered)} buffered, "
        f"the oldest for {oldest_s:,.0f} s"
    )


def _log(log: Mapping[str, Any]) -> str:
    if log.get("brokers"):
        return f"Kafka at {log['brokers']}"
    return f"{log.get('kind', 'unknown')}, {in_bytes(log.get('backlog_bytes') or 0)} kept in it"


def _states(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in states.items()) or "none"
