"""The application `ui`: the built web page at `/`.

All files are read once, when the replica starts: what is not among them cannot be asked for, however the path is
written.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from deployments.browsers import ASK_AGAIN, SAFE_HEADERS
from deployments.problem import install_problem_handlers
from ess_ray.core.errors import NotFound, Unavailable
from ess_ray.runtime.environment import ROUTES, is_protocols

DIST: Final = Path(__file__).parent / "web" / "dist"
INDEX: Final = "index.html"
PAGES: Final = frozenset({"", INDEX, "tail", "alerts", "status"})
"""Addresses of pages (`web/src/pages.tsx`)."""
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_ASSETS: Final = "assets/"
_NONCE: Final = b"__NONCE__"
"""What index.html holds in the place of a fresh value."""
_ENCODINGS: Final = {".br": "br", ".gz": "gzip"}
"""Endings that the build gives to compressed copies, best first."""

_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""What a build is made of. Not `mimetypes`, which says what the machine's own list does."""

FOREVER: Final = "public, max-age=31536000, immutable"
"""A year: names of assets hold a hash of their content."""

_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; connect-src 'self'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script and no style that was not loaded from here, but for the editor's one style sheet, known by the nonce."""

_NOT_BUILT: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>ess_ray</title>
<h1>The web page is not built</h1>
<p>Everything else works: <code>ess search</code>, and HTTP as <a href="/search/docs">/search/docs</a> and
<a href="/push/docs">/push/docs</a> tell.</p>
<p>From a checkout of the repository, with Node.js and npm there, <code>make web</code> builds it; the next
<code>ess up</code> serves it.</p>
</html>
"""


@dataclass(frozen=True)
class Asset:
    """One file, with its compressed copies by encoding."""

    body: bytes
    media_type: str
    etag: str
    copies: Mapping[str, bytes]


def read_assets(folder: Path) -> dict[str, Asset]:
    """Read a build, by path below `folder`. Empty where there is none."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        name: Asset(
            body,
            _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream"),
            f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            {encoding: files[name + ending] for ending, encoding in _ENCODINGS.items() if name + ending in files},
        )
        for name, body in files.items()
        if Path(name).suffix not in _ENCODINGS
    }


class Pages:
    """Answers for one build."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        self._assets = assets

    async def get(self, request: Request, path: str) -> Response:
        """Give a file, or the page itself for the address of a page.

        Whatever has no dot may be one that a browser asks for; it tells so itself when nothing is there. To others
        only PAGES are there: agents ask for their protocol's health, and must not hear 200 where nobody speaks it. What
        is below a protocol's prefix is no page for anybody.
        """
        if is_protocols(f"/{path}"):  # HAProxy sends these elsewhere
            raise NotFound(f"there is no /{path} here")
        asset = self._assets.get(path)
        if asset is not None and path != INDEX:
            return _file(request, asset, FOREVER if path.startswith(_ASSETS) else ASK_AGAIN)
        if path != INDEX and "." in path.rsplit("/", 1)[-1]:
            raise NotFound(f"there is no file /{path}")
        if path not in PAGES and "text/html" not in request.headers.get("accept", "").lower():
            raise NotFound(f"there is no /{path} here")
        return self._page()

    def _page(self) -> Response:
        nonce = secrets.token_urlsafe(16)
        index = self._assets.get(INDEX)
        body = _NOT_BUILT if index is None else index.body.replace(_NONCE, nonce.encode())
        headers = {**SAFE_HEADERS, "Content-Security-Policy": _POLICY.format(nonce=nonce), "Cache-Control": ASK_AGAIN}
        return Response(body, headers=headers, media_type="text/html")


def _file(request: Request, asset: Asset, caching: str) -> Response:
    headers = {**SAFE_HEADERS, "Cache-Control": caching, "ETag": asset.etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    accepted = _accepted(request.headers.get("accept-encoding", ""))
    for encoding, body in asset.copies.items():
        if encoding in accepted:
            headers["Content-Encoding"] = encoding
            return Response(body, headers=headers, media_type=asset.media_type)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _accepted(header: str) -> set[str]:
    """Give the encodings that a client names and does not refuse (`br;q=0`)."""
    accepted = set()
    for one in header.split(","):
        name, _, parameters = one.strip().partition(";")
        quality = parameters.replace(" ", "").removeprefix("q=")
        if quality.strip("0.") or not quality:
            accepted.add(name.strip().lower())
    return accepted


async def _come_again() -> Response:
    raise Unavailable("this part of the system is starting; try again in a second")


def create_ui_app(folder: Path = DIST) -> FastAPI:
    """Route everything that is not `/push` or `/search`.

    Serve sends those elsewhere; while the other applications start, or a node does not know them yet, they come here.
    """
    app = FastAPI(title="ess_ray ui", docs_url=None, redoc_url=None, openapi_url=None)
    install_problem_handlers(app)
    for other in ROUTES:
        app.api_route(other, methods=_METHODS)(_come_again)
        app.api_route(f"{other}/{{path:path}}", methods=_METHODS)(_come_again)
    app.api_route("/{path:path}", methods=["GET", "HEAD"])(Pages(read_assets(folder)).get)
    return app
