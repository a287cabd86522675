"""Tantivy's side (the engine of Quickwit): an inverted index with positions, and its document store.

It finds words, not substrings: what cannot be said in words it does not answer.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Final

import pyarrow as pa
import tantivy

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.rivals.shapes import Shape
from tests.benchmarks.rivals.side import Found, Side, folder_bytes

HEAP_BYTES: Final = 512 * 1024 * 1024
"""Of the one indexing thread: its segments hold some hundred thousand events, which are then merged."""
RAW: Final = ("level", "service", "host", "trace_id", "span_id")


class Tantivy(Side):
    """One index, one indexing thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        schema = tantivy.SchemaBuilder().add_unsigned_field("timestamp", stored=True, fast=True)
        schema.add_text_field("message", stored=True)
        for name in RAW:
            schema.add_text_field(name, stored=True, tokenizer_name="raw", index_option="basic")
        schema.add_json_field("attributes", stored=True, tokenizer_name="raw", index_option="basic")
        self._schema = schema.build()
        self._index = tantivy.Index(self._schema, path=str(folder))

    def version(self) -> str:
        return f"tantivy {importlib.metadata.version('tantivy')}"

    def load(self, corpus: Corpus) -> tuple[int, str]:
        writer = self._index.writer(HEAP_BYTES, 1)
        for table, path in zip(corpus.tables(["timestamp"]), corpus.ndjson, strict=True):
            times = table.column("timestamp").cast(pa.int64()).to_pylist()
            with path.open(encoding="utf-8") as lines:
                for time_us, line in zip(times, lines, strict=True):
                    # The generator writes the timestamp first: as a number its microseconds survive.
                    writer.add_json(f'{{"timestamp":{time_us},{line.split(",", 1)[1]}')
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        searcher = self._index.searcher()
        if searcher.num_docs != corpus.count:
            raise AssertionError(f"tantivy holds {searcher.num_docs} of {corpus.count} events")
        return folder_bytes(self.folder), f"{searcher.num_segments} segments"

    def query(self, shape: Shape) -> Found | None:
        if shape.regex is not None or (shape.literal is not None and not shape.whole_tokens):
            return None
        must = [(tantivy.Occur.Must, query) for query in self._tests(shape)]
        query = must[0][1] if len(must) == 1 else tantivy.Query.boolean_query(must)
        searcher = self._index.searcher()
        hits = searcher.search(
            query, limit=shape.limit, count=False, order_by_field="timestamp", order=tantivy.Order.Desc
        ).hits
        documents = [searcher.doc(address).to_dict() for _, address in hits]
        return Found([document["timestamp"][0] for document in documents])

    def _tests(self, shape: Shape) -> list[tantivy.Query]:
        schema = self._schema
        tests = [tantivy.Query.term_query(schema, name, value, "basic") for name, value in shape.equals]
        words = [token.lower() for token in shape.tokens]
        if len(words) == 1:
            tests.append(tantivy.Query.term_query(schema, "message", words[0]))
        elif words:
            tests.append(tantivy.Query.phrase_query(schema, "message", list(words)))
        if shape.start_us is not None or shape.end_us is not None:
            low, high = shape.start_us, shape.end_us
            kind = tantivy.FieldType.Unsigned
            tests.append(tantivy.Query.range_query(schema, "timestamp", kind, low, high, include_upper=False))
        return tests
