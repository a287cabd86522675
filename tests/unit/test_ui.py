"""The application `ui`: which files it gives, how long they are kept, and what the page may do."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deployments.ui import DIST, PAGES, create_ui_app
from tests.servers import or_skip

PAGE = '<!doctype html><meta name="style-nonce" content="__NONCE__"><script src="/assets/index-abc.js"></script>'
MAX_PAGE_BYTES = 400_000
"""A second on a slow telephone network."""
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SCRIPT = b"export const page = 1;" * 40


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "robots.txt").write_text("User-agent: *")
    (folder / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (folder / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "assets" / "index-abc.js.br").write_bytes(b"brotli's bytes")
    (tmp_path / "secret.txt").write_text("not below dist")
    return folder


def client_of(folder: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_ui_app(folder)), base_url="http://ui")


@pytest.fixture
async def client(dist: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(dist) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/tail", "/alerts", "/status", "/index.html", "/a/page/to/come", "/?q=level:ERROR&start=-1d"]
)
async def test_every_address_of_a_page_gives_the_page(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "/assets/index-abc.js" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/push", "/push/healthz", "/push/v1/events", "/search", "/search/v1/queries/x.y"])
async def test_what_is_for_other_applications_is_told_to_come_again(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """It comes here while they have no route: 200 would call them healthy, and 405 or 404 be final to who pushes."""
    answer = await client.request(method, path)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_only_begins_alike_is_a_page(client: httpx.AsyncClient) -> None:
    for path in ("/pushed", "/searches/new"):
        assert (await client.get(path, headers=BROWSER)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/ready", "/services/collector/health", "/api/v1/validate", "/elasticsearch/", "/loki/api/v1/labels", "/x"]
)
@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_what_is_no_page_is_not_there_for_who_asks_for_none(
    client: httpx.AsyncClient, path: str, accept: str
) -> None:
    """Agents take 200 for health: the page would say that a protocol is spoken here which is not."""
    answer = await client.get(path, headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_pages_are_there_whatever_is_asked_for(client: httpx.AsyncClient) -> None:
    source = (DIST.parent / "src" / "pages.tsx").read_text()
    paths = re.findall(r"path: '(/[^']*)'", source)
    assert {path.removeprefix("/") for path in paths} | {"index.html"} == PAGES
    for path in paths:
        assert (await client.get(path, headers={"Accept": "*/*"})).status_code == 200


async def test_the_policy_allows_nothing_inline_but_what_has_the_fresh_nonce(client: httpx.AsyncClient) -> None:
    nonces = set()
    for _ in range(2):
        answer = await client.get("/")
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["script-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        (nonce,) = re.findall(r"'nonce-([\w-]{20,})'", policy["style-src"])
        assert f'content="{nonce}"' in answer.text
        nonces.add(nonce)
    assert len(nonces) == 2


@pytest.mark.parametrize("path", ["/", "/assets/index-abc.js", "/robots.txt"])
async def test_every_answer_carries_the_headers_of_safety(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"


async def test_assets_are_kept_for_a_year_and_other_files_are_asked_for_again(client: httpx.AsyncClient) -> None:
    asset = await client.get("/assets/index-abc.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"].startswith("text/javascript")
    again = await client.get("/assets/index-abc.js", headers={"If-None-Match": asset.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await client.get("/robots.txt")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0.5", "gzip"), ("br; q=0.0", None), ("", None)],
)
async def test_the_best_copy_that_the_client_takes_is_sent(dist: Path, accept: str, encoding: str | None) -> None:
    # Read raw: httpx would undo what was done to the body.
    async with (
        client_of(dist) as client,
        client.stream("GET", "/assets/index-abc.js", headers={"Accept-Encoding": accept}) as answer,
    ):
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert raw == {"br": b"brotli's bytes", "gzip": gzip.compress(SCRIPT), None: SCRIPT}[encoding]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/%2fetc%2fpasswd.txt",
        "/..%5csecret.txt",
        "/assets/index-abc.js%00.txt",
        "/assets/missing.js",
        "/assets/index-abc.js.br",
    ],
)
async def test_what_is_no_file_of_the_build_is_not_there(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "not below dist" not in answer.text


async def test_it_takes_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.post("/", content=b"x")).status_code == 405
    head = await client.head("/")
    assert (head.status_code, head.content) == (200, b"")


async def test_without_a_build_it_says_how_to_get_one(tmp_path: Path) -> None:
    async with client_of(tmp_path / "nothing") as client:
        answer = await client.get("/")
        assert answer.status_code == 200
        assert "make web" in answer.text
        assert "content-security-policy" in answer.headers
        assert (await client.get("/assets/index.js")).status_code == 404


def test_the_page_is_light() -> None:
    """All files together, compressed by Brotli, or by gzip for a browser that does not know it."""
    if not DIST.exists():
        or_skip("the web page is not built: make web")
    for encoding in ("br", "gz"):
        assert 0 < sum(path.stat().st_size for path in DIST.rglob(f"*.{encoding}")) < MAX_PAGE_BYTES
