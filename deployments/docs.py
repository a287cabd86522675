"""`/docs` of an application: its OpenAPI document as a page to read.

Written by the server, without any script, so that it works where there is no internet and nothing from elsewhere ever
runs on the interface's own origin.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from deployments.browsers import ASK_AGAIN, SAFE_HEADERS

Schema = Mapping[str, Any]

MAX_DEPTH: Final = 8
"""Of a schema inside schemas: one that holds itself must end somewhere."""
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid #8884; border-radius: 4px; }
article { border-top: 1px solid #8886; margin-top: 1.5rem; padding-top: .5rem; }
h2, h2 code { font-size: 1.05rem; overflow-wrap: anywhere; }
h2 code { font-weight: 600; }
h3 { font-size: .95rem; margin-bottom: .2rem; }
dl, ul { margin: .2rem 0; padding-left: 1.2rem; } dd { margin-left: 1.2rem; }
.type { opacity: .75; } .method { text-transform: uppercase; }
"""
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The one style sheet, known by its hash, and an icon that is none: nothing else is loaded and nothing runs."""


def route_docs(app: FastAPI) -> None:
    """Add `GET /docs`. The application's own pages must be off: they load scripts from elsewhere."""

    async def docs(request: Request) -> Response:
        root = str(request.scope.get("root_path", "")).rstrip("/")
        page = page_of(app.openapi(), root, str(request.base_url).rstrip("/").removesuffix(root))
        headers = {**SAFE_HEADERS, "Content-Security-Policy": _POLICY, "Cache-Control": ASK_AGAIN}
        return Response(page, headers=headers, media_type="text/html")

    app.get("/docs", include_in_schema=False)(docs)


def page_of(document: Schema, root: str, origin: str) -> str:
    """Write the page of an OpenAPI document whose paths lie below `root` of `origin` (`http://host:port`)."""
    title = escape(str(document["info"]["title"]))
    operations = [
        (method, f"{root}{path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    ]
    reader = _Reader(document, origin)
    contents = "".join(
        f'<li><a href="#{_anchor(method, path)}"><code><span class="method">{method}</span> {escape(path)}</code></a>'
        for method, path, _ in operations
    )
    articles = "".join(reader.operation(method, path, operation) for method, path, operation in operations)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}: HTTP interface</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f'<p>The same for programs: <a href="{escape(root)}/openapi.json">{escape(root)}/openapi.json</a>. '
        "Where keys are used (<code>ess keys create</code>), send <code>Authorization: Bearer KEY</code>. "
        "Errors are <code>application/problem+json</code> and say what to do.</p>"
        f"<ul>{contents}</ul>{articles}</main></body></html>"
    )


class _Reader:
    """Writes parts of one document."""

    def __init__(self, document: Schema, origin: str) -> None:
        self._document, self._origin = document, origin

    def operation(self, method: str, path: str, operation: Schema) -> str:
        head = f'<h2><code><span class="method">{method}</span> {escape(path)}</code></h2>'
        parts = [head, _text(operation.get("description"))]
        parts += [self._parameters(operation["parameters"])] if operation.get("parameters") else []
        content = self._resolved(operation.get("requestBody", {})).get("content", {})
        parts += [self._content("Body", media, shown) for media, shown in content.items()]
        parts.append(f"<h3>For example</h3><pre>{escape(self._curl(method, path, operation, content))}</pre>")
        parts.append(self._answers(operation.get("responses", {})))
        return f'<article id="{_anchor(method, path)}">{"".join(parts)}</article>'

    def _parameters(self, parameters: Iterable[Schema]) -> str:
        rows = "".join(
            f"<dt><code>{escape(one['name'])}</code> <span class=type>in {escape(one['in'])}, "
            f"{self._type(one.get('schema', {}))}{', required' if one.get('required') else ''}</span></dt>"
            f"<dd>{_text(one.get('description'))}</dd>"
            for one in parameters
        )
        return f"<h3>Parameters</h3><dl>{rows}</dl>"

    def _content(self, name: str, media: str, shown: Schema) -> str:
        return f"<h3>{name}: {escape(media)}</h3>{self._schema(shown.get('schema', {}))}"

    def _answers(self, answers: Schema) -> str:
        rows = []
        for status, answer in answers.items():
            content = self._resolved(answer).get("content", {})
            # A refusal is the same problem document everywhere: its words are what differs.
            inner = (
                "" if int(status) >= 400 else "".join(self._schema(one.get("schema", {})) for one in content.values())
            )
            kinds = f' <span class="type">{escape(", ".join(content))}</span>' if content else ""
            rows.append(
                f"<dt><code>{escape(status)}</code>{kinds}</dt><dd>{_text(answer.get('description'))}{inner}</dd>"
            )
        return f"<h3>Answers</h3><dl>{''.join(rows)}</dl>"

    def _schema(self, schema: Schema, depth: int = 0) -> str:
        schema = self._resolved(schema)
        if depth >= MAX_DEPTH:
            return ""
        head = f'<span class="type">{self._type(schema)}</span> {_inline(schema.get("description"))}'
        return f"<div>{head}{self._members(schema, depth)}</div>"

    def _members(self, schema: Schema, depth: int) -> str:
        if "properties" in schema:
            required = set(schema.get("required", ()))
            rows = "".join(
                f"<li><code>{escape(name)}</code>{' (required)' if name in required else ''} "
                f"{self._schema(one, depth + 1)}</li>"
                for name, one in schema["properties"].items()
            )
            return f"<ul>{rows}</ul>"
        if "items" in schema:
            return self._schema(schema["items"], depth + 1) if _has_more(self._resolved(schema["items"])) else ""
        kinds = [one for one in self._choices(schema) if _has_more(self._resolved(one))]
        return "".join(f"<ul><li>{self._schema(one, depth + 1)}</li></ul>" for one in kinds)

    @staticmethod
    def _choices(schema: Schema) -> list[Schema]:
        return [*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())]

    def _type(self, schema: Schema, depth: int = 0) -> str:
        """Name a schema's type and limits in a few words, safe for HTML."""
        schema = self._resolved(schema)
        if depth >= MAX_DEPTH:
            return "..."
        choices = self._choices(schema)
        if choices:
            return " or ".join(dict.fromkeys(self._type(one, depth + 1) for one in choices))
        if "enum" in schema:
            return escape(" | ".join(json.dumps(one) for one in schema["enum"]))
        if "const" in schema:
            return escape(json.dumps(schema["const"]))
        name = schema.get("type", "anything")
        if name == "array":
            name = f"array of {self._type(schema.get('items', {}), depth + 1)}"
        else:
            name = escape(" or ".join(name) if isinstance(name, list) else str(name))
        return ", ".join([name, *_limits(schema)])

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            found: Any = self._document
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def _curl(self, method: str, path: str, operation: Schema, content: Schema) -> str:
        asked = "&".join(
            f"{one['name']}={one['name'].upper()}"
            for one in operation.get("parameters", ())
            if one["in"] == "query" and one.get("required")
        )
        words = ["curl", "-sS", self._origin + path + (f"?{asked}" if asked else "")]
        words += [] if method == "get" else ["-X", method.upper()]
        if content:
            media, shown = next(iter(content.items()))
            words += ["-H", f"Content-Type: {media}", "-d", json.dumps(self._example(shown.get("schema", {})))]
        return shlex.join(words)

    def _example(self, schema: Schema, depth: int = 0) -> Any:
        """Make a value that the schema allows, with as little in it as it asks for."""
        schema = self._resolved(schema)
        for choice in self._choices(schema):
            return self._example(choice, depth + 1)
        for given in ("examples", "enum"):
            if schema.get(given):
                return schema[given][0]
        if "default" in schema:
            return schema["default"]
        kind = schema.get("type")
        if kind == "object":
            required, all_of = schema.get("required", ()), schema.get("properties", {})
            return (
                {name: self._example(all_of.get(name, {}), depth + 1) for name in required} if depth < MAX_DEPTH else {}
            )
        if kind == "array":
            return [self._example(schema.get("items", {}), depth + 1)] if depth < MAX_DEPTH else []
        return {"integer": schema.get("minimum", 1), "number": 1, "boolean": False, "null": None}.get(str(kind), "...")


def _limits(schema: Schema) -> Iterator[str]:
    names = {"minimum": "at least", "maximum": "at most", "minLength": "at least", "maxLength": "at most"}
    for name, words in names.items():
        if name in schema:
            yield f"{words} {schema[name]:,}{' characters' if name.endswith('Length') else ''}"
    if schema.get("default") is not None:
        yield f"default {escape(json.dumps(schema['default']))}"


def _has_more(schema: Schema) -> bool:
    """Tell whether a schema says more than its type's name does."""
    return any(name in schema for name in ("properties", "items", "oneOf", "anyOf", "allOf", "description"))


def _text(text: str | None) -> str:
    return "".join(f"<p>{_inline(one)}</p>" for one in (text or "").split("\n\n") if one.strip())


def _inline(text: str | None) -> str:
    """Escape a text; what stands between backquotes is code."""
    parts = escape(text or "").split("`")
    return "".join(f"<code>{one}</code>" if at % 2 else one for at, one in enumerate(parts))


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""))
