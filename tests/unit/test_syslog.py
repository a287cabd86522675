"""Syslog messages to events: both RFCs, what is near them, and what is neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.formats.syslog import Received, decode
from ess_ray.intake.limits import IntakeLimits
from tests.loki import rows_of

NOW = datetime(2026, 9, 21, 14, 0, tzinfo=UTC)
LIMITS = IntakeLimits()


def us(moment: datetime) -> int:
    return round(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def rows(*messages: bytes | Received, now: datetime = NOW, zone: Any = UTC) -> list[dict[str, Any]]:
    received = [each if isinstance(each, Received) else Received(each) for each in messages]
    decoded = decode(received, us(now), LIMITS, zone=zone)
    decoded.batch.validate(full=True)
    assert not decoded.rejected
    return rows_of(decoded.batch)


def one(message: bytes | Received, **how: Any) -> dict[str, Any]:
    (row,) = rows(message, **how)
    return row


def test_rfc_5424() -> None:
    row = one(
        Received(
            b'<165>1 2026-09-21T12:14:15.000003-01:00 mymachine.example.com evntslog 8710 ID47 [x@32473 iut="3" '
            b'quoted="a\\"b\\\\c\\]d" iut="4"][empty] \xef\xbb\xbfAn application event log entry...\n',
            "192.0.2.7",
        )
    )
    assert row["timestamp"] == datetime(2026, 9, 21, 13, 14, 15, 3, tzinfo=UTC)
    assert (row["level"], row["severity_number"]) == ("NOTICE", 10)
    assert (row["host"], row["service"]) == ("mymachine.example.com", "evntslog")
    assert row["message"] == "An application event log entry..."
    assert row["attributes"] == {
        "facility": "local4",
        "procid": "8710",
        "msgid": "ID47",
        "structured_data.x@32473.iut": "3",
        "structured_data.x@32473.quoted": 'a"b\\c]d',
        "structured_data.x@32473.iut#2": "4",
        "structured_data.empty": "",
        "source.ip": "192.0.2.7",
    }


def test_nothing_is_known_but_the_priority() -> None:
    row = one(b"<0>1 - - - - - -")
    assert row["timestamp"] == NOW
    assert (row["level"], row["host"], row["service"], row["message"]) == ("EMERGENCY", None, None, "")
    assert row["attributes"] == {"facility": "kern"}


@pytest.mark.parametrize(
    ("message", "host", "service", "procid", "text"),
    [
        (b"<34>Sep 21 12:14:15 box su: 'su root' failed", "box", "su", None, "'su root' failed"),
        (b"<34>Sep 21 12:14:15 box su[12]: x\n", "box", "su", "12", "x"),
        (b"<34>Sep 21 12:14:15 su[12]: x\x00", None, "su", "12", "x"),
        (b"<34>Sep 21 12:14:15 10.0.0.1 postfix/smtpd[5]: x", "10.0.0.1", "postfix/smtpd", "5", "x"),
        (b"<34>Sep 21 12:14:15 fe80::1 app: x", "fe80::1", "app", None, "x"),
        (b"<34>Sep 21 12:14:15 box no tag here", "box", None, None, "no tag here"),
        (b"<34>Sep 21 12:14:15 box CEF:0|V|P|1", "box", None, None, "CEF:0|V|P|1"),
        (b'<34>Sep 21 12:14:15 {"a": 1}', None, None, None, '{"a": 1}'),
        (b"<34>2026-09-21T12:14:15+00:00 box app[1]: x", "box", "app", "1", "x"),
        (b"<34>2026-09-21T12:14:15.000Z box app: x", "box", "app", None, "x"),
        (b"<34>2026-09-21 12:14:15 box app: x", "box", "app", None, "x"),
        (b"<34>Sep 21 2026 12:14:15: %ASA-6-302015: x", None, None, None, "%ASA-6-302015: x"),
        (b"<34>Sep 21 2026 12:14:15 asa : %ASA-6-302015: x", "asa", None, None, "%ASA-6-302015: x"),
        (b"<34>2026 Sep 21 12:14:15 UTC: %X-1-Y: x", None, None, None, "%X-1-Y: x"),
        (b"Sep 21 12:14:15 box app: x", "box", "app", None, "x"),
        (b"<34>Sep 21 12:14:15 box app: two\nlines", "box", "app", None, "two\nlines"),
    ],
)
def test_rfc_3164_and_what_calls_itself_so(
    message: bytes, host: str | None, service: str | None, procid: str | None, text: str
) -> None:
    row = one(message)
    assert row["timestamp"] == datetime(2026, 9, 21, 12, 14, 15, tzinfo=UTC)
    assert (row["host"], row["service"], row["message"]) == (host, service, text)
    assert row["attributes"].get("procid") == procid


@pytest.mark.parametrize(
    ("message", "text", "level"),
    [
        (b"plain words: and more", "plain words: and more", "NOTICE"),
        (b"<14>hello\x00", "hello", "INFO"),
        (b"<14>Error: it failed", "Error: it failed", "INFO"),
        (b"<999>no priority", "<999>no priority", "NOTICE"),
        (b"<34>1 no header", "<34>1 no header", "CRITICAL"),
        (b"<189>12: *Mar  1 18:46:11: %SYS-5-C: x", "12: *Mar  1 18:46:11: %SYS-5-C: x", "NOTICE"),
        (b"<14>Feb 30 10:00:00 box app: x", "Feb 30 10:00:00 box app: x", "INFO"),
        (b"<14>\xff\xfe", "\ufffd\ufffd", "INFO"),
        (b"<14>a\x00b", "a\x00b", "INFO"),
    ],
)
def test_what_cannot_be_understood_is_a_message_as_it_came(message: bytes, text: str, level: str) -> None:
    row = one(message)
    assert (row["message"], row["level"], row["timestamp"]) == (text, level, NOW)


def test_a_tag_without_a_time_needs_its_process() -> None:
    row = one(b"<14>worker[77]: done")
    assert (row["service"], row["attributes"]["procid"], row["message"]) == ("worker", "77", "done")


@pytest.mark.parametrize(
    ("now", "stamp", "year"),
    [
        (datetime(2027, 1, 1, 0, 5, tzinfo=UTC), b"Dec 31 23:59:59", 2026),
        (datetime(2026, 12, 31, 23, 55, tzinfo=UTC), b"Jan  1 00:00:10", 2027),
        (datetime(2026, 6, 1, tzinfo=UTC), b"May  1 00:00:00", 2026),
        (datetime(2028, 3, 1, tzinfo=UTC), b"Feb 29 00:00:00", 2028),
    ],
)
def test_the_year_is_the_one_that_makes_it_nearest(now: datetime, stamp: bytes, year: int) -> None:
    row = one(b"<13>" + stamp + b" box app: x", now=now)
    assert row["timestamp"].year == year


def test_times_without_a_zone_are_in_the_one_that_is_set() -> None:
    row = one(b"<13>Sep 21 12:14:15 box app: x", zone=ZoneInfo("Europe/Berlin"))
    assert row["timestamp"] == datetime(2026, 9, 21, 12, 14, 15, tzinfo=timezone(timedelta(hours=2)))


def test_a_time_that_cannot_be_is_kept_beside_that_of_receipt() -> None:
    row = one(b"<13>1 1999-01-01T00:00:00Z - - - - - x")
    assert row["timestamp"] == NOW
    assert row["attributes"]["original_timestamp"] == "1999-01-01T00:00:00Z"


def test_blank_messages_are_none() -> None:
    assert rows(b"\n", b"\x00", b"  ") == []


def test_structured_data_that_is_none_belongs_to_the_message() -> None:
    row = one(b'<13>1 2026-09-21T12:14:15Z h a p m [x y="1] text')
    assert row["message"] == '[x y="1] text'
    assert "structured_data.x.y" not in row["attributes"]


@pytest.mark.parametrize(
    "content",
    [
        b"<14>" + b"x" * (MAX_EVENT_BYTES - 4),
        b"<14>" + b"\xff" * (MAX_EVENT_BYTES - 4),
        b"<14>1 - h a p m [" + b"i" * 250 + b"".join(b' n%d="v"' % n for n in range(60_000)) + b"] text",
    ],
)
def test_what_is_too_large_is_cut_and_says_so(content: bytes) -> None:
    row = one(Received(content, "192.0.2.7"))
    assert row["attributes"]["truncated"] == "true"
    assert row["attributes"]["source.ip"] == "192.0.2.7"
    assert len(row["message"].encode()) > MAX_EVENT_BYTES // 2


def test_many_parameters_of_one_name_are_counted_in_linear_time() -> None:
    row = one(b"<14>1 - h a p m [x" + b' a=""' * 5_000 + b"] text")
    assert len(row["attributes"]) == 5_000 + 3
    assert "structured_data.x.a#5000" in row["attributes"]
