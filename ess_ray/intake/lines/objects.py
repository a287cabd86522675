"""JSON objects of programs whose names are not those of the field table: what they mean as fields.

Most loggers' JSON (zap, slog, zerolog, pino, logback's encoders) needs nothing: the field table has their names. An
object is never rebuilt: what is given here is written behind what is there, so that every number stays as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

Members = Mapping[str, Any]


def meant_by(event: Members) -> dict[str, Any]:
    """Give the members that an object gets besides, in place of its own of that name; null takes one away."""
    for is_one, read in _KINDS:
        if is_one(event):
            return read(event)
    return {}


def _is_journal(event: Members) -> bool:
    return "__REALTIME_TIMESTAMP" in event and ("MESSAGE" in event or "__CURSOR" in event)


def journal_members(event: Members) -> dict[str, Any]:
    """Read an entry of systemd's journal: its cursor is its id, so that it is the same however often it is read."""
    given: dict[str, Any] = dict.fromkeys(name for name in event if name.startswith("__"))
    given["__REALTIME_TIMESTAMP"] = event["__REALTIME_TIMESTAMP"]
    cursor, message = event.get("__CURSOR"), event.get("MESSAGE")
    if isinstance(cursor, str):
        given["id"] = sha256(cursor.encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(message, list) and all(type(byte) is int and 0 <= byte < 256 for byte in message):
        given["MESSAGE"] = bytes(message).decode("utf-8", "replace")  # what is no plain text comes as its bytes
    return given


def _is_cloudtrail(event: Members) -> bool:
    return "eventVersion" in event and "eventSource" in event and "eventName" in event


def _cloudtrail(event: Members) -> dict[str, Any]:
    code, why = event.get("errorCode"), event.get("errorMessage")
    failed = "" if code is None else f" {code}" if why is None else f" {code}: {why}"
    return {
        "timestamp": event.get("eventTime"),
        "service": event["eventSource"],
        "level": "INFO" if code is None else "ERROR",
        "message": f"{event['eventSource']} {event['eventName']}{failed}",
    }


_WINDOWS_LEVELS: Final = ("INFO", "CRITICAL", "ERROR", "WARN", "INFO", "TRACE")
"""By the number of a level, 0 (always logged) to 5 (verbose)."""
_DATE: Final = re.compile(r"/Date\((-?\d+)[+\-\d]*\)/", re.ASCII)


def _is_windows(event: Members) -> bool:
    inner = event.get("Event")
    return isinstance(inner, dict) and isinstance(inner.get("System"), dict)


def _windows(event: Members) -> dict[str, Any]:
    """Read what evtx_dump and others make of an event's XML: attributes stand under `#attributes`, or by themselves."""
    system = event["Event"]["System"]
    level = _text(system.get("Level"))
    given: dict[str, Any] = {
        "timestamp": _attribute(system.get("TimeCreated"), "SystemTime"),
        "service": _attribute(system.get("Provider"), "Name"),
        "host": _text(system.get("Computer")),
        "level": _windows_level(level),
    }
    data = event["Event"].get("EventData") or event["Event"].get("UserData")
    rendered = event["Event"].get("RenderingInfo")
    message = rendered.get("Message") if isinstance(rendered, dict) else None
    if message is None:
        told = ", ".join(f"{name}={_text(value)}" for name, value in data.items()) if isinstance(data, dict) else ""
        message = f"{given['service']} event {_text(system.get('EventID'))}" + (f": {told}" if told else "")
    return {name: value for name, value in {**given, "message": message}.items() if value is not None}


def _is_get_winevent(event: Members) -> bool:
    return "ProviderName" in event and "TimeCreated" in event and "MachineName" in event


def _get_winevent(event: Members) -> dict[str, Any]:
    """Read what `Get-WinEvent | ConvertTo-Json` writes."""
    created = event["TimeCreated"]
    if isinstance(created, dict):
        created = created.get("value")
    date = _DATE.fullmatch(created) if isinstance(created, str) else None
    given = {
        "timestamp": int(date[1]) if date is not None else created,
        "service": event["ProviderName"],
        "host": event["MachineName"],
        "level": _windows_level(_text(event.get("Level"))) or event.get("LevelDisplayName"),
        "message": event.get("Message"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _windows_level(level: str | None) -> str | None:
    return _WINDOWS_LEVELS[int(level)] if level is not None and level in "012345" and len(level) == 1 else None


def _attribute(element: Any, name: str) -> Any:
    if not isinstance(element, dict):
        return element
    inner = element.get("#attributes")
    holder = inner if isinstance(inner, dict) else element
    return holder.get(name, holder.get(f"@{name}"))


def _text(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("#text", value.get("Value"))
    return None if value is None else str(value)


def _is_bunyan(event: Members) -> bool:
    return type(event.get("v")) is int and {"name", "hostname", "pid", "level", "msg"} <= event.keys()


def _bunyan(event: Members) -> dict[str, Any]:
    return {} if "service" in event else {"service": event["name"], "name": None}


_MONGO_LEVELS: Final = {"F": "FATAL", "E": "ERROR", "W": "WARN", "I": "INFO"}


def _is_mongo(event: Members) -> bool:
    return {"t", "s", "c", "ctx", "msg"} <= event.keys() and isinstance(event["t"], dict)


def _mongo(event: Members) -> dict[str, Any]:
    return {"timestamp": event["t"].get("$date"), "level": _MONGO_LEVELS.get(event["s"], "DEBUG")}


_KINDS: Final = (
    (_is_journal, journal_members),
    (_is_cloudtrail, _cloudtrail),
    (_is_windows, _windows),
    (_is_get_winevent, _get_winevent),
    (_is_bunyan, _bunyan),
    (_is_mongo, _mongo),
)


def load_object(text: str) -> dict[str, Any] | None:
    """Read a JSON object, also one with lone surrogates or NaN; None for anything else."""
    text = text.strip()
    if not text.startswith("{"):
        return None
    try:
        event = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return event if isinstance(event, dict) else None
