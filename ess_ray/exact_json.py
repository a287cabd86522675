"""JSON of values with integers of any size and decimals of any length: a client's numbers go out as they came in."""

from __future__ import annotations

import json
from typing import Any

import orjson

from ess_ray.core.decimals import LongDecimal


def dumps(value: Any) -> bytes:
    """Write a JSON value; keys may be numbers. Raises TypeError for what is none."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # also for integers beyond 64 bits and long decimals, which are rare, and cost more
        return dumps_unusual(value, allow_nan=False)


def dumps_unusual(value: Any, sort_keys: bool = False, allow_nan: bool = True) -> bytes:
    """Write a JSON value that orjson does not. Raises TypeError for what is none, ValueError where it must not be."""
    if _has_long_decimal(value):
        option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_SORT_KEYS if sort_keys else 0)
        return orjson.dumps(_in_fragments(value), option=option)
    return json.dumps(
        value, separators=(",", ":"), ensure_ascii=False, allow_nan=allow_nan, sort_keys=sort_keys
    ).encode()


def _has_long_decimal(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, LongDecimal):
            return True
        if isinstance(item, dict | list | tuple):
            stack += item.values() if isinstance(item, dict) else item
    return False


def _in_fragments(value: Any) -> Any:
    """Give a value with each number that orjson does not write as its text. Recursive: its parser bounded the depth."""
    if isinstance(value, LongDecimal) or type(value) is int:
        return orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {key: _in_fragments(item) for key, item in value.items()}
    return [_in_fragments(item) for item in value] if isinstance(value, list | tuple) else value
