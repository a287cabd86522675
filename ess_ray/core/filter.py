"""The one filter: which rows of a batch a query wants. Buffers, objects, Ray tasks and Lambda all decide rows here.

How it goes: a mask of rows still in question starts as the time range; each test, cheapest first, sees only rows that
no test before has decided, copied together when they are few. Every regular expression and every literal goes
through RE2, whose time is linear in the text whatever the pattern.

`Operator.match` decides rows that are at hand; whatever rules rows out earlier or faster (an index, a scan of the page
in place) is a superset put before `filter_batch`, never another opinion on what matches.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import attribute
from ess_ray.core.field import Field
from ess_ray.core.operators import Block
from ess_ray.core.operators.compare import compare_integers
from ess_ray.core.query import Query


def filter_batch(batch: pa.RecordBatch | pa.Table, query: Query) -> pa.Int64Array:
    """Give the positions, ascending, of the batch's rows that match the query's tree and lie in its time range.

    `batch` needs the columns that `query.columns()` names, typed as in EVENT_SCHEMA; more do no harm. Pure: the same
    input gives the same answer. Raises BadRequest for a regular expression that RE2 refuses (`language` lets none
    pass), KeyError for a column that is not there.
    """
    if not query.columns():
        masks = [_rows(Block(batch.num_rows, _no_column), query)]
    else:
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        masks = [_rows(Block(one.num_rows, one.column), query) for one in batches]
    return pc.indices_nonzero(pa.chunked_array(masks, pa.bool_())).cast(pa.int64(), safe=False)


def field_text(field: Field, batch: pa.RecordBatch) -> pa.StringArray:
    """Give a field of every row as one text, the same for equal numbers; null where the row does not have it.

    An attribute is taken from the key of its own name alone: each row then counts once.
    """
    texts = Block(batch.num_rows, batch.column).text(field)
    if not field.attribute:
        return texts
    types = batch.column("attribute_types")
    if types.null_count == len(types):
        return texts
    coded = texts.dictionary_encode()
    canonical = attribute.canonical_numbers(coded.dictionary)
    is_other = pc.not_equal(canonical, coded.dictionary)
    if not is_other.true_count:
        return texts
    changed = pc.fill_null(is_other.take(coded.indices), False)
    letters = attribute.letters_of(batch.column("attributes").filter(changed), types.filter(changed), field.name)
    written = canonical.take(coded.indices.filter(changed))
    return pc.replace_with_mask(
        texts, changed, pc.if_else(pa.array(letters == attribute.NUMBER), written, texts.filter(changed))
    )


def _no_column(name: str) -> pa.Array:
    raise KeyError(name)


def _rows(block: Block, query: Query) -> pa.BooleanArray:
    mask = block.all(True)
    for op, bound in ((">=", query.start_us), ("<", query.end_us)):
        if bound is not None:
            times = block.column("timestamp").cast(pa.int64())
            mask = pc.and_(mask, pc.fill_null(compare_integers(times, op, bound), False))  # type: ignore[arg-type]
    return query.root.among(block, mask)
