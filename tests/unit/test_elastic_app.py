"""Elasticsearch's protocol through the push application: what clients ask first, every status, and what is stored."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import zstandard
from fastapi import Request

from deployments.push import PushApi, create_push_app
from deployments.ways.elastic import BULK_PATH
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.limits import IntakeLimits
from tests.elastic import NDJSON, create, lines
from tests.pushing import World, standstill

MAX_BYTES = IntakeLimits().max_batch_bytes
ONE = create({"message": "m"}, id="1", index="web")
COMPATIBLE = "application/vnd.elasticsearch+json; compatible-with=8"
KINDS = (
    *("_index_template", "_template", "_component_template", "_ilm/policy", "_data_stream", "_ingest/pipeline"),
    *("_alias", "_cat/templates"),
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


async def ask(world: World, method: str, path: str, **headers: str) -> httpx.Response:
    """Ask something; every answer has the product's header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await world.http.request(method, f"/elasticsearch{path}", headers=named)
    assert response.headers["x-elastic-product"] == "Elasticsearch"
    return response


async def bulk(http: httpx.AsyncClient, content: Any, path: str = "/_bulk", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await http.post(f"/elasticsearch{path}", content=content, headers={"content-type": NDJSON, **named})
    assert response.headers["x-elastic-product"] == "Elasticsearch"
    return response


def is_error(response: httpx.Response, status: int, kind: str) -> str:
    """Check a refusal; gives its reason."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    told = response.json()
    assert told["status"] == status
    assert told["error"]["type"] == told["error"]["root_cause"][0]["type"] == kind
    reason: str = told["error"]["reason"]
    assert reason == told["error"]["root_cause"][0]["reason"]
    return reason


# --------------------------------------------------------------------------------------------- what clients ask first
@pytest.mark.parametrize("path", ["", "/", "/?pretty"])
async def test_who_this_is(world: World, path: str) -> None:
    response = await ask(world, "GET", path)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    told = response.json()
    assert {"name", "cluster_name", "cluster_uuid", "version", "tagline"} == set(told)
    assert told["tagline"] == "You Know, for Search"
    version = told["version"]
    assert (version["number"], version["build_flavor"], version["build_type"]) == ("8.19.0", "default", "docker")
    assert version["minimum_wire_compatibility_version"] == "7.17.0"
    assert version["minimum_index_compatibility_version"] == "7.0.0"
    assert {"build_hash", "build_date", "lucene_version"} <= set(version)
    assert version["build_snapshot"] is False


async def test_the_version_is_a_setting(world: World) -> None:
    api = PushApi(world.gatherer, world._tenant, world._health, world._known_request)
    transport = httpx.ASGITransport(create_push_app(api, "7.17.9"))
    async with httpx.AsyncClient(transport=transport, base_url="http://push") as http:
        version = (await http.get("/elasticsearch/")).json()["version"]
    assert (version["number"], version["minimum_wire_compatibility_version"]) == ("7.17.9", "6.8.0")


async def test_head_has_no_body(world: World) -> None:
    for path, status in (("/", 200), ("", 200), ("/_index_template/x", 404), ("/web", 404)):
        response = await ask(world, "HEAD", path)
        assert (response.status_code, response.content) == (status, b"")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        *((f"application/vnd.elasticsearch+json; compatible-with={n}",) * 2 for n in (7, 8, 9)),
        ("application/vnd.elasticsearch+json;compatible-with=8,text/plain", COMPATIBLE),
    ],
)
async def test_the_answers_type_is_what_is_asked_for(world: World, accept: str, media_type: str) -> None:
    assert (await ask(world, "GET", "/", accept=accept)).headers["content-type"] == media_type
    assert (await bulk(world.http, ONE, accept=accept)).headers["content-type"] == media_type
    refused = await bulk(world.http, b"no", accept=accept)
    assert (refused.status_code, refused.headers["content-type"]) == (400, media_type)


async def test_the_license_and_xpack(world: World) -> None:
    license_ = (await ask(world, "GET", "/_license")).json()["license"]
    assert (license_["type"], license_["mode"], license_["status"]) == ("basic", "basic", "active")
    assert license_["expiry_date_in_millis"] > world.now_us / 1_000
    assert license_["uid"]
    assert (await ask(world, "GET", "/_xpack")).json() == {"features": {}, "license": license_}
    begun = await ask(world, "POST", "/_license/start_basic?acknowledge=true")
    assert (begun.status_code, begun.json()["acknowledged"]) == (200, True)


async def test_health_is_pushs(world: World) -> None:
    for path in ("/_cluster/health", "/_cluster/health?local=true", "/_cluster/health/web"):
        response = await ask(world, "GET", path)
        assert response.status_code == 200
        assert {"status": "green", "timed_out": False, "number_of_nodes": 1}.items() <= response.json().items()
    world.problems.append("the log is away")
    response = await ask(world, "GET", "/_cluster/health")
    assert "the log is away" in is_error(response, 503, "unavailable_shards_exception")
    assert response.headers["retry-after"] == "1"
    assert (await ask(world, "GET", "/")).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_what_clients_set_up_is_not_there_and_then_acknowledged(world: World, kind: str) -> None:
    is_error(await ask(world, "GET", f"/{kind}/filebeat-8.19.0"), 404, "resource_not_found_exception")
    assert (await ask(world, "HEAD", f"/{kind}/filebeat-8.19.0")).status_code == 404
    response = await ask(world, "PUT", f"/{kind}/filebeat-8.19.0")
    assert (response.status_code, response.json()) == (200, {"acknowledged": True})
    assert (await ask(world, "GET", f"/{kind}")).json() == {}
    is_error(await ask(world, "DELETE", f"/{kind}/filebeat-8.19.0"), 405, "method_not_allowed_exception")


async def test_an_index_is_made_and_never_there(world: World) -> None:
    response = await ask(world, "PUT", "/filebeat-000001")
    assert (response.status_code, response.json()["acknowledged"]) == (200, True)
    assert response.json()["index"] == "filebeat-000001"
    is_error(await ask(world, "GET", "/filebeat-000001"), 404, "resource_not_found_exception")


@pytest.mark.parametrize("path", ["/_nodes/http", "/_nodes/_all/http"])
async def test_the_only_node_is_at_the_address_that_was_asked(world: World, path: str) -> None:
    for host, address in (("logs.example:8000", "logs.example:8000"), ("logs.example", "logs.example:80")):
        (node,) = (await ask(world, "GET", path, host=host)).json()["nodes"].values()
        assert node["http"]["publish_address"] == address
        assert (node["roles"], node["version"]) == (["data", "ingest"], "8.19.0")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/web/_refresh", "/web/_flush", "/_refresh", "/_flush", "/_all/_refresh")),
        *(("GET", path) for path in ("/_cat/indices", "/_cat/indices/web?format=json", "/web/_refresh")),
    ],
)
async def test_refresh_flush_and_indices(world: World, method: str, path: str) -> None:
    response = await ask(world, method, path)
    assert (response.status_code, response.json()) == (200, {"_shards": {"total": 1, "successful": 1, "failed": 0}})


@pytest.mark.parametrize("path", ["/_search", "/web/_search", "/_nodes/stats", "/a/b/c/d", "/_", "//", "/_bulk/x"])
async def test_anything_else_is_404(world: World, path: str) -> None:
    response = await ask(world, "POST", path)
    if path == "//":  # as `/`
        is_error(response, 405, "method_not_allowed_exception")
    else:
        assert "/_bulk" in is_error(response, 404, "resource_not_found_exception")


@pytest.mark.parametrize("path", ["/_bulk", "/web/_bulk", "/web/_doc", "/web/_doc/1", "/web/_create/1", "/_license"])
async def test_other_methods_are_405(world: World, path: str) -> None:
    is_error(await ask(world, "DELETE", path), 405, "method_not_allowed_exception")


async def test_a_like_named_path_is_none_of_these(world: World) -> None:
    assert (await world.http.get("/elasticsearchx")).status_code == 404


# -------------------------------------------------------------------------------------------------------------- bulk
async def test_documents_are_accepted_once_they_are_in_the_log(world: World) -> None:
    response = await bulk(world.http, ONE + create({"message": "n"}, id="2"), "/site/_bulk", x_test_tenant="acme")
    assert response.status_code == 200
    told = response.json()
    assert (told["errors"], type(told["took"])) == (False, int)
    assert told["items"] == [
        {"create": {"_index": "web", "_id": "1", "status": 201}},
        {"create": {"_index": "site", "_id": "2", "status": 201}},
    ]
    (stored,) = await world.records()
    assert (stored.tenant, stored.request) == ("acme", None)
    assert stored.batch.column("event_id").to_pylist() == ["1", "2"]
    assert await world.messages() == ["m", "n"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        *(
            "/_bulk",
            "/_bulk/",
            "/web/_bulk",
            "/web/_doc/_bulk",
            "/web/flb_type/_bulk",
        ),  # the last ones with a type, as of old
        "/_bulk?timeout=1m&refresh=true&pipeline=p&require_data_stream=true&require_alias=false&routing=r&_source=false",
        "/_bulk?filter_path=errors,items.*.error",
    ],
)
async def test_the_ways_to_bulk(world: World, method: str, path: str) -> None:
    response = await world.http.request(method, f"/elasticsearch{path}", content=ONE)
    assert (response.status_code, len(response.json()["items"])) == (200, 1)
    assert await world.messages() == ["m"]


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_compressions(world: World, name: str, compress: Any) -> None:
    assert (await bulk(world.http, compress(ONE), content_encoding=name)).json()["errors"] is False
    assert await world.messages() == ["m"]


async def test_a_body_without_a_length_is_taken(world: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(ONE), 7):
            yield ONE[at : at + 7]

    assert (await bulk(world.http, chunks())).status_code == 200
    assert await world.messages() == ["m"]


async def test_one_flaw_costs_no_other_document(world: World) -> None:
    body = ONE + lines({"delete": {"_id": "2"}}) + create(5, id="3") + create({"message": "n"}, id="4")
    told = (await bulk(world.http, body)).json()
    assert told["errors"] is True
    assert [item["status"] for each in told["items"] for item in each.values()] == [201, 400, 400, 201]
    assert await world.messages() == ["m", "n"]


async def test_all_invalid_is_200_too_since_nothing_is_to_be_sent_again(world: World) -> None:
    response = await bulk(world.http, create(5) * 1_500)
    assert response.status_code == 200
    assert [each["create"]["status"] for each in response.json()["items"]] == [400] * 1_500
    assert await world.records() == []


async def test_the_same_id_again_is_answered_as_at_the_first_time(world: World) -> None:
    first, again = (await bulk(world.http, ONE)).json(), (await bulk(world.http, ONE)).json()
    assert first["items"] == again["items"]
    rows = [row for record in await world.records() for row in record.batch.to_pylist()]
    assert len({(row["event_id"], row["event_hash"]) for row in rows}) == 1  # whose repeat the writer drops


@pytest.mark.parametrize("body", [b"", b"no", ONE + b'{"index":{}}\n', ONE + lines({"upsert": {}}, {})])
async def test_what_is_malformed_is_400_and_nothing_is_stored(world: World, body: bytes) -> None:
    is_error(await bulk(world.http, body), 400, "illegal_argument_exception")
    assert await world.records() == []


async def test_other_types_and_encodings_are_415_and_too_much_is_413(world: World) -> None:
    is_error(await bulk(world.http, ONE, content_type="text/xml"), 415, "media_type_header_exception")
    is_error(await bulk(world.http, ONE, content_encoding="br"), 415, "media_type_header_exception")
    is_error(await bulk(world.http, b" " * (MAX_BYTES + 1)), 413, "content_too_large_exception")


@pytest.mark.parametrize("error", [Unavailable("away"), TooFast("full"), CorruptData("the log's file is damaged")])
async def test_what_is_no_fault_of_the_requests_is_503_as_a_whole(world: World, error: Exception) -> None:
    world.log.error = error
    for path in ("/_bulk", "/web/_doc"):
        response = await bulk(world.http, ONE if path == "/_bulk" else b'{"message":"m"}', path)
        is_error(response, 503, "unavailable_shards_exception")
        assert response.headers["retry-after"] == "1"
    world.log.error = None
    assert (await bulk(world.http, ONE)).json()["errors"] is False
    assert await world.messages() == ["m"]


def refusing(world: World, tenant: Any, deadline_s: float = 10.0) -> httpx.AsyncClient:
    api = PushApi(world.gatherer, tenant, world._health, world._known_request, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Unauthenticated("a key is needed"), 401, "security_exception"),
        (Forbidden("not for this"), 403, "security_exception"),
        (Unavailable("no keys"), 503, "unavailable_shards_exception"),
        (RuntimeError("password=hunter2"), 503, "unavailable_shards_exception"),
    ],
)
async def test_who_is_not_let_in_hears_it_everywhere(world: World, error: Exception, status: int, kind: str) -> None:
    async def tenant(_: Request) -> str:
        raise error

    async with refusing(world, tenant) as http:
        answers = [await bulk(http, ONE), await http.get("/elasticsearch/"), await http.get("/elasticsearch/_license")]
    for response in answers:
        assert response.headers["x-elastic-product"] == "Elasticsearch"
        assert "hunter2" not in is_error(response, status, kind)
        assert ("www-authenticate" in response.headers) == (status == 401)


async def test_the_deadline_is_503(world: World) -> None:
    async with refusing(world, standstill, deadline_s=0.02) as http:
        is_error(await bulk(http, ONE), 503, "unavailable_shards_exception")
        is_error(await http.get("/elasticsearch/"), 503, "unavailable_shards_exception")


async def test_a_large_body_is_stored_in_order_with_an_item_for_each_and_a_repeat_is_known(world: World) -> None:
    count = 8_000
    body = b"".join(create({"message": f"{n:05d}", "x": "y" * 120}) for n in range(count))
    assert len(body) > PIECE_BYTES
    told = [(await bulk(world.http, gzip.compress(body), content_encoding="gzip")).json() for _ in range(2)]
    assert len(told[0]["items"]) == count
    assert told[0]["items"] == told[1]["items"]
    assert (await world.messages())[:count] == [f"{n:05d}" for n in range(count)]
    requests = [each.request for each in await world.records() if each.request is not None]
    assert len(requests) == len(await world.records())
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]
    assert world.gatherer.gate.held_bytes == 0


async def test_a_key_of_idempotency_counts_here_too(world: World) -> None:
    assert (await bulk(world.http, ONE, idempotency_key="k")).status_code == 200
    response = await bulk(world.http, create({"message": "other"}), idempotency_key="k")
    is_error(response, 422, "version_conflict_engine_exception")


# --------------------------------------------------------------------------------------------------- one document each
@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("POST", "/web/_doc", None),
        ("POST", "/web/_doc/a%2Fb", "a/b"),
        ("PUT", "/web/_doc/1", "1"),
        ("PUT", "/web/_create/1", "1"),
        ("POST", "/web/_create/1?refresh=wait_for", "1"),
    ],
)
async def test_a_document_by_itself(world: World, method: str, path: str, given: str | None) -> None:
    response = await world.http.request(method, f"/elasticsearch{path}", json={"message": "m"})
    assert response.status_code == 201
    assert response.headers["x-elastic-product"] == "Elasticsearch"
    told = response.json()
    assert (told["_index"], told["result"], told["_version"]) == ("web", "created", 1)
    assert told["_id"] == given if given is not None else told["_id"]
    (stored,) = await world.records()
    (row,) = stored.batch.to_pylist()
    assert (row["message"], row["event_id"], dict(row["attributes"])) == ("m", given, {"_index": "web"})


async def test_a_document_by_itself_that_is_none_is_400(world: World) -> None:
    is_error(await bulk(world.http, b"[1]", "/web/_doc"), 400, "illegal_argument_exception")
    assert await world.records() == []


async def test_the_api_tells_of_it(world: World) -> None:
    document = json.loads((await world.http.get("/openapi.json")).content)
    described = document["paths"][BULK_PATH]["post"]
    assert set(described["requestBody"]["content"]) == {NDJSON, "text/plain"}
    assert {"200", "400", "401", "403", "413", "415", "503"} <= set(described["responses"])
