"""What the descriptions of several ways in have in common, for OpenAPI."""

from __future__ import annotations

from typing import Any, Final

PROTOBUF: Final = "application/x-protobuf"
BINARY: Final[dict[str, Any]] = {"type": "string", "format": "binary"}
ENCODING: Final[dict[str, Any]] = {
    "name": "Content-Encoding",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": ["gzip", "zstd", "deflate", "snappy", "identity"]},
}


def json_answer_of(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def text_answer(description: str) -> dict[str, Any]:
    """Describe an answer that is a line of text."""
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


TEXT_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    401: text_answer("A key is needed: send `Authorization: Bearer KEY`"),
    403: text_answer("The key is good, but not for this"),
    405: text_answer("POST alone is taken"),
    413: text_answer("More than 64 MiB decompressed (`push.max_batch_bytes`)"),
    415: text_answer("A content type or encoding that is not spoken here"),
    422: text_answer("The Idempotency-Key came with another body before"),
    503: text_answer("Nothing was acknowledged: send it again after Retry-After"),
}
"""Of protocols that say them in a line of text."""


def body_of(content: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe what a route takes: a schema by media type."""
    return {
        "requestBody": {
            "required": True,
            "content": {media_type: {"schema": schema} for media_type, schema in content.items()},
        },
        "parameters": [ENCODING],
    }
