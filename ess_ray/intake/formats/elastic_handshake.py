"""What clients of Elasticsearch and OpenSearch ask and set up before they send: enough for them to begin.

Nothing that they set up is kept: templates, policies and pipelines are acknowledged, and are not there when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ess_ray.intake.formats.elastic_bulk import ELASTIC_BULK, MEDIA_TYPE, ElasticBulk, ElasticDocument, refused
from ess_ray.intake.formats.elastic_lines import Action
from ess_ray.intake.formats.format import Format
from ess_ray.problem import Answer, Refusal

VERSION: Final = "8.19.0"
"""What clients are told unless a setting says otherwise: Beats refuse a server that is older than themselves, Fluentd's
plugin one of another major version than its library's."""
_LAST_OF_MAJOR: Final = {6: "6.8.0", 7: "7.17.0", 8: "8.19.0"}
"""The oldest version that the next major one speaks with."""
_NAME: Final = "ess_ray"
_CLUSTER_ID: Final = "ZXNzX3JheS1jbHVzdGVyLQ"
_LICENSE: Final = {
    "uid": "6573735f-7261-7920-0000-000000000001",
    "type": "basic",
    "status": "active",
    "mode": "basic",
    "expiry_date_in_millis": 4_102_444_800_000,
}
_INDEX: Final = r"/(?P<index>[^/_][^/]*)"
_KINDS: Final = (
    "/(?P<kind>_index_template|_template|_component_template|_ilm/policy|_data_stream|_ingest/pipeline|_alias"
    "|_cat/templates)"
)
_READ: Final = ("GET", "HEAD")
_WRITE: Final = ("PUT", "POST")


@dataclass(frozen=True)
class Asked:
    """A request: `path` is what stands behind the protocol's prefix, `address` (`host:port`) where it was asked."""

    method: str
    path: str
    address: str
    version: str = VERSION


Reply = Callable[[Asked, Mapping[str, str]], Answer]
MakeFormat = Callable[[Mapping[str, str]], Format]


def format_of(method: str, path: str) -> Format | None:
    """Give what reads the body of a request that stores; None for any other request."""
    for methods, pattern, make in _STORING:
        if method in methods and (found := pattern.fullmatch(_plain(path))) is not None:
            return make(found.groupdict())
    return None


def is_health(method: str, path: str) -> bool:
    """Tell whether a request asks if documents can be stored just now: the answer here says that they can."""
    return method in _READ and _HEALTH.fullmatch(_plain(path)) is not None


def answer_of(asked: Asked) -> Answer:
    """Answer a request that stores nothing: 404 where there is nothing, 405 where it is asked in another way."""
    path = _plain(asked.path)
    allowed: list[str] = []
    for methods, pattern, reply in _ROUTES:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        if asked.method in methods:
            return reply(asked, found.groupdict())
        allowed += methods
    for methods, pattern, _ in _STORING:
        if pattern.fullmatch(path) is not None:
            allowed += methods
    if allowed:
        ways = ", ".join(dict.fromkeys(allowed))
        return refused(Refusal(405, "Method Not Allowed", f"{path} takes {ways}, not {asked.method}"))
    return _missing(asked, {})


def _plain(path: str) -> str:
    return path.rstrip("/")


def _json(content: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(content), MEDIA_TYPE)


def _about(asked: Asked, _: Mapping[str, str]) -> Answer:
    before = int(asked.version.partition(".")[0]) - 1
    version = {
        "number": asked.version,
        "build_flavor": "default",
        "build_type": "docker",
        "build_hash": "0" * 40,
        "build_date": "2025-07-23T22:10:32.000000000Z",
        "build_snapshot": False,
        "lucene_version": "9.12.2",
        "minimum_wire_compatibility_version": _LAST_OF_MAJOR.get(before, f"{before}.0.0"),
        "minimum_index_compatibility_version": f"{before}.0.0",
    }
    told = {"name": _NAME, "cluster_name": _NAME, "cluster_uuid": _CLUSTER_ID, "version": version}
    return _json({**told, "tagline": "You Know, for Search"})


def _license(_: Asked, __: Mapping[str, str]) -> Answer:
    return _json({"license": _LICENSE})


def _xpack(_: Asked, __: Mapping[str, str]) -> Answer:
    return _json({"features": {}, "license": _LICENSE})


def _health(_: Asked, __: Mapping[str, str]) -> Answer:
    nodes = dict.fromkeys(("number_of_nodes", "number_of_data_nodes", "active_primary_shards", "active_shards"), 1)
    waiting = dict.fromkeys(
        ("relocating_shards", "initializing_shards", "unassigned_shards", "number_of_pending_tasks"), 0
    )
    told = {"cluster_name": _NAME, "status": "green", "timed_out": False, **nodes, **waiting}
    return _json({**told, "active_shards_percent_as_number": 100.0})


def _nodes(asked: Asked, _: Mapping[str, str]) -> Answer:
    node = {
        "name": _NAME,
        "version": asked.version,
        "roles": ["data", "ingest"],
        "http": {"publish_address": asked.address, "bound_address": [asked.address]},
    }
    return _json({"cluster_name": _NAME, "nodes": {_NAME: node}})


def _shards(_: Asked, __: Mapping[str, str]) -> Answer:
    return _json({"_shards": {"total": 1, "successful": 1, "failed": 0}})


def _nothing_yet(_: Asked, __: Mapping[str, str]) -> Answer:
    return _json({})


def _acknowledged(_: Asked, __: Mapping[str, str]) -> Answer:
    return _json({"acknowledged": True})


def _index_made(_: Asked, names: Mapping[str, str]) -> Answer:
    return _json({"acknowledged": True, "shards_acknowledged": True, "index": names["index"]})


def _license_begun(_: Asked, __: Mapping[str, str]) -> Answer:
    return _json({"acknowledged": True, "basic_was_started": True})


def _missing(asked: Asked, _: Mapping[str, str]) -> Answer:
    return refused(Refusal(404, "Not Found", f"there is no {asked.path} here: documents are taken at /_bulk"))


def _bulk(names: Mapping[str, str]) -> Format:
    return ElasticBulk(names["index"]) if names["index"] else ELASTIC_BULK


def _document(names: Mapping[str, str]) -> Format:
    name = "create" if names["how"] == "_create" else "index"
    return ElasticDocument(Action(name, names["index"], names["id"] or None))


_HEALTH: Final = re.compile(r"/_cluster/health(/[^/]+)?")
_STORING: Final[list[tuple[tuple[str, ...], re.Pattern[str], MakeFormat]]] = [
    (_WRITE, re.compile(rf"({_INDEX}(/(_doc|[^/_][^/]*))?)?/_bulk"), _bulk),
    (("POST",), re.compile(rf"{_INDEX}/(?P<how>_doc)(?P<id>)"), _document),
    (_WRITE, re.compile(rf"{_INDEX}/(?P<how>_doc|_create)/(?P<id>.+)"), _document),
]
_ROUTES: Final[list[tuple[tuple[str, ...], re.Pattern[str], Reply]]] = [
    (_READ, re.compile(""), _about),
    (_READ, re.compile("/_license"), _license),
    (("POST",), re.compile("/_license/start_basic"), _license_begun),
    (_READ, re.compile("/_xpack"), _xpack),
    (_READ, _HEALTH, _health),
    (_READ, re.compile("/_nodes(/_all)?/http"), _nodes),
    (_READ, re.compile(_KINDS), _nothing_yet),
    (_READ, re.compile(_KINDS + "/.+"), _missing),
    (_WRITE, re.compile(_KINDS + "/.+"), _acknowledged),
    ((*_READ, "POST"), re.compile(rf"(/_all|{_INDEX})?/(_refresh|_flush)"), _shards),
    (_READ, re.compile("/_cat/indices(/.+)?"), _shards),
    (_READ, re.compile(_INDEX), _missing),
    (("PUT",), re.compile(_INDEX), _index_made),
]
