"""Datadog's logs to rows: tags, status, messages that are objects; the fast path means what the slow one does."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.intake.attributes import Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.datadog import DATADOG, Datadog
from ess_ray.intake.formats.datadog_logs import Defaults, _Logs, columns_of, table_of, tags_of
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.holders import read_held
from ess_ray.intake.limits import IntakeLimits

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
AGENTS: list[dict[str, Any]] = [
    {
        "message": "GET /cart 200",
        "status": "info",
        "timestamp": 1_789_999_999_123,
        "hostname": "web-1",
        "service": "shop",
        "ddsource": "nginx",
        "ddtags": "env:prod,version:1.2,url:http://x/y,canary",
    },
    {"message": "boom", "status": "error", "timestamp": 1_789_999_999_124, "hostname": "web-1", "service": "shop"},
]
"""What the agent's HTTP sender writes."""


def rows(body: Any, form: Datadog = DATADOG) -> list[dict[str, Any]]:
    """Give rows with what matters of them."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    decoded = form.decode(Body(data, "application/json"), NOW_US, LIMITS)
    assert decoded.rejected == []
    return [
        {
            "time": int(row["timestamp"].timestamp() * 1_000),
            **{name: row[name] for name in ("message", "level", "service", "host")},
            "attributes": dict(row["attributes"] or ()),
        }
        for row in decoded.batch.to_pylist()
    ]


def test_what_the_agent_sends() -> None:
    first, second = rows(AGENTS)
    assert first == {
        "time": 1_789_999_999_123,
        "message": "GET /cart 200",
        "level": "INFO",
        "service": "shop",
        "host": "web-1",
        "attributes": {
            **{"ddsource": "nginx", "env": "prod", "version": "1.2", "url": "http://x/y"},
            "ddtags": "canary",
        },
    }
    assert (second["time"], second["level"], second["attributes"]) == (1_789_999_999_124, "ERROR", {})


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ("", {}),
        (",, ,", {}),
        ("alone", {"ddtags": "alone"}),
        ("a, b ,k:v", {"ddtags": "a,b", "k": "v"}),
        ("k:v:w", {"k": "v:w"}),
        ("k:", {"k": ""}),
        (":v", {"ddtags": ":v"}),
        ("k:1,k:2,k:3", {"k": "1", "k#2": "2", "k#3": "3"}),
        ("ddtags:1,x", {"ddtags": "1", "ddtags#2": "x"}),
        (["a:1", 5, "b"], {"a": "1", "ddtags": "b"}),
    ],
)
def test_tags(tags: Any, named: dict[str, str]) -> None:
    assert tags_of(tags) == named


def test_a_tag_names_a_field_that_the_log_has_not_and_else_is_an_attribute() -> None:
    (named,) = rows([{"message": "m", "ddtags": "service:a,host:b"}])
    assert (named["service"], named["host"], named["attributes"]) == ("a", "b", {})
    (both,) = rows([{"message": "m", "service": "own", "ddtags": "service:a"}])
    assert (both["service"], both["attributes"]) == ("own", {"service": "a"})
    (same,) = rows([{"message": "m", "env": "own", "ddtags": "env:tag"}])
    assert same["attributes"] == {"env": "own", "env#2": "tag"}


def test_a_message_that_is_an_object_is_the_event() -> None:
    log = {
        "message": {"msg": "paid", "level": "warn", "amount": 5},
        "timestamp": 1_789_999_999_123,
        "status": "info",
        "service": "shop",
        "ddtags": "env:prod",
    }
    (row,) = rows([log])
    assert (row["message"], row["level"], row["service"], row["time"]) == ("paid", "WARN", "shop", 1_789_999_999_123)
    assert row["attributes"] == {"amount": "5", "status": "info", "env": "prod"}
    (whole,) = rows([{"message": {"a": 1}}])
    assert whole["message"] == '{"a":1}'


def test_a_record_without_a_time_has_none_of_the_one_before() -> None:
    first, second = rows([{"message": "a", "timestamp": 1_700_000_000_000}, {"message": "b"}])
    assert (first["time"], second["time"]) == (1_700_000_000_000, NOW_US // 1_000)


def test_the_time_of_the_header_is_for_those_without_one() -> None:
    form = DATADOG.asked({}, "1789999999000", True)
    for message in ("b", {"msg": "b"}):
        first, second = rows([{"message": "a", "timestamp": 1_700_000_000_000}, {"message": message}], form)
        assert (first["time"], second["time"]) == (1_700_000_000_000, 1_789_999_999_000)
    for nonsense in ("", "0", "soon", "-5", "9" * 40):
        (row,) = rows([{"message": "a"}], DATADOG.asked({}, nonsense, True))
        assert (row["time"], row["attributes"]) == (NOW_US // 1_000, {})


def test_what_the_address_says_is_of_all() -> None:
    query = {"service": "shop", "hostname": "h", "ddsource": "node", "ddtags": "env:prod", "other": "x"}
    form = DATADOG.asked(query, "", True)
    first, second = rows([{"message": "a"}, {"message": "b", "service": "own"}], form)
    assert (first["service"], first["host"]) == ("shop", "h")
    assert first["attributes"] == {"env": "prod", "ddsource": "node"}
    assert second["service"] == "own"


def test_status_is_a_level_only_if_it_can_be_one() -> None:
    (number,) = rows([{"message": "m", "status": 503}])
    assert (number["level"], number["attributes"]) == (None, {"status": "503"})
    (level,) = rows([{"message": "m", "status": "info", "level": "error"}])
    assert (level["level"], level["attributes"]) == ("ERROR", {"status": "info"})


@pytest.mark.parametrize("body", [b"{}", b"[]", b" { } ", b"[ ]\n"])
def test_probes_hold_nothing_and_are_accepted(body: bytes) -> None:
    assert rows(body) == []
    assert DATADOG.accepted(Stored(), None).status == 202


def test_bodies_of_libraries() -> None:
    assert [row["message"] for row in rows(AGENTS[0])] == ["GET /cart 200"]
    assert [row["message"] for row in rows(b'{"message":"a"}\n{"message":"b"}')] == ["a", "b"]
    assert [row["message"] for row in rows(["a", {"message": "b"}])] == ["a", "b"]
    decoded = DATADOG.decode(Body(b"one\ntwo", "text/plain"), NOW_US, LIMITS)
    assert decoded.batch.column("message").to_pylist() == ["one", "two"]


def test_one_that_is_no_log_costs_no_other() -> None:
    decoded = DATADOG.decode(Body(orjson.dumps([{"message": "a"}, 5, {"message": "b"}])), NOW_US, LIMITS)
    assert decoded.batch.column("message").to_pylist() == ["a", "b"]
    assert [index for index, _ in decoded.rejected] == [1]


def test_a_large_body_is_cut_and_its_pieces_are_the_whole() -> None:
    form = DATADOG.asked({"service": "shop"}, "1789999999000", True)
    logs = [{"message": f"{n:06d} " + "x" * 100, "ddtags": "env:prod,alone"} for n in range(12_000)]
    body = Body(orjson.dumps(logs), "application/json")
    assert form.may_be_several(body)
    pieces = form.cut(body)
    assert len(pieces) > 1
    decoded = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    messages = [text for each in decoded for text in each.batch.column("message").to_pylist()]
    assert messages == [log["message"] for log in logs]
    assert {each for piece in decoded for each in piece.batch.column("service").to_pylist()} == {"shop"}
    other = DATADOG.asked({"service": "other"}, "", True).cut(body)
    assert pieces.body_hash != other.body_hash
    assert pieces.body_hash == DATADOG.asked({"service": "shop"}, "5", True).cut(body).body_hash


NAMES = st.sampled_from(
    [
        *("message", "status", "timestamp", "hostname", "service", "ddsource", "ddtags", "level", "host", "env"),
        *("date", "app", "trace_id", "id", "attributes", "line"),
    ]
)
TAGS = st.lists(st.tuples(NAMES, st.sampled_from([":v", ":", "", ":info"])).map("".join), max_size=4).map(",".join)
VALUES = st.one_of(
    st.sampled_from(
        ["info", "x", "", 1_789_999_999_123, 5, None, True, 1.5, {"msg": "inner", "service": "s"}, ["a:b"]]
    ),
    TAGS,
)
LOGS = st.lists(
    st.fixed_dictionaries({"message": st.just("m")}) | st.dictionaries(NAMES, VALUES), min_size=1, max_size=3
)


@given(LOGS, TAGS, st.dictionaries(st.sampled_from(["service", "hostname", "ddtags"]), st.just("d:e")), st.booleans())
def test_the_fast_path_means_what_the_slow_one_does(
    logs: list[dict[str, Any]], tags: str, named: dict[str, str], timed: bool
) -> None:
    logs = [{**log, "ddtags": tags} if number % 2 else log for number, log in enumerate(logs)]
    defaults = Defaults(named, 1_789_999_999_000 if timed else None)
    table = table_of(FIELD_TABLE)
    fast = columns_of(logs, 100, Reading(NOW_US, LIMITS, True, table), defaults)
    helds = list(map(_Logs(defaults, table).held, logs))
    slow = odd_columns(helds, Reading(NOW_US, LIMITS, True, table), read_held)
    assert (fast.rejected, fast.adjusted) == (slow.rejected, slow.adjusted)
    assert told(fast.batch) == told(slow.batch)


def told(batch: Any) -> list[dict[str, Any]]:
    """Give rows whose attributes have their types, in any order."""
    found = batch.to_pylist()
    for row in found:
        pairs = row.pop("attributes") or []
        letters = row.pop("attribute_types") or "s" * len(pairs)
        row["typed"] = sorted((name, text, letter) for (name, text), letter in zip(pairs, letters, strict=True))
    return found


def test_the_usual_batch_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ess_ray.intake.columns.odd_columns", None)
    decoded = columns_of(AGENTS, 100, Reading(NOW_US, LIMITS, True, table_of(FIELD_TABLE)), Defaults())
    assert len(decoded.batch) == len(AGENTS)
