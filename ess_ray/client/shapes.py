"""What answers are turned into: dicts, Arrow, Polars, pandas."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa

from ess_ray.core.errors import BadRequest, EssError, Incomplete
from ess_ray.core.timestamps import parse_timestamp_us

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

OnIncomplete = Literal["raise", "warn", "ignore"]
"""What is done about an answer that has not everything, once what it has was handed out."""
ON_INCOMPLETE: Final = ("raise", "warn", "ignore")
_TIME: Final = pa.timestamp("us", tz="UTC")


class IncompleteWarning(UserWarning):
    """An answer has not everything: the text says what is missing."""


def checked(on_incomplete: OnIncomplete) -> OnIncomplete:
    """Give it back. Raises BadRequest for what is none."""
    if on_incomplete not in ON_INCOMPLETE:
        raise BadRequest(f'incomplete={on_incomplete!r} is not known: "raise", "warn" or "ignore"')
    return on_incomplete


def told(reasons: Sequence[str], on_incomplete: OnIncomplete) -> None:
    """Tell that an answer has not everything, as is wanted. Raises Incomplete."""
    if not reasons or on_incomplete == "ignore":
        return
    message = f"the answer is incomplete: {'; '.join(reasons)}"
    if on_incomplete == "raise":
        raise Incomplete(message, incomplete=list(reasons))
    warnings.warn(message, IncompleteWarning, stacklevel=4)


def polars_of(table: pa.Table) -> pl.DataFrame:
    """Give a table as a polars.DataFrame. Raises EssError where Polars is not installed."""
    frame: pl.DataFrame = _module("polars").from_arrow(table)
    return frame


def pandas_of(table: pa.Table) -> pd.DataFrame:
    """Give a table as a pandas.DataFrame. Raises EssError where pandas is not installed."""
    _module("pandas")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise EssError(f"{name} is not installed here: `pip install {name}`, or use .to_arrow()") from error


def table_of(columns: Sequence[Mapping[str, str]], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Make typed columns of a pipe's table: times in microseconds, whole numbers of 64 bits, floats, text."""
    arrays = []
    for at, column in enumerate(columns):
        values = [row[at] for row in rows]
        if column["type"] == "time":
            arrays.append(pa.array([None if one is None else parse_timestamp_us(one) for one in values], _TIME))
        elif column["type"] == "number":
            arrays.append(_numbers(values))
        else:
            arrays.append(pa.array([None if one is None else str(one) for one in values], pa.string()))
    return pa.Table.from_arrays(arrays, names=[column["name"] for column in columns])


def _numbers(values: Sequence[Any]) -> pa.Array:
    whole = all(one is None or (isinstance(one, int) and -(2**63) <= one < 2**63) for one in values)
    if whole and any(one is not None for one in values):
        return pa.array(values, pa.int64())
    return pa.array([None if one is None else float(one) for one in values], pa.float64())
