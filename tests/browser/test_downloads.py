"""The whole answer as a file: every row that the search finds, in each format, whatever the page shows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import expect

from tests.browser.data import World
from tests.browser.pages import Search

QUERY = "service:bulk level:ERROR"


def messages(path: Path, file_format: str) -> list[str]:
    if file_format == "NDJSON":
        return [json.loads(line)["message"] for line in path.read_text().splitlines()]
    if file_format == "CSV":
        with path.open(newline="") as file:
            return [row["message"] for row in csv.DictReader(file)]
    found: list[str] = pq.read_table(path).column("message").to_pylist()
    return found


@pytest.mark.parametrize("file_format", ["NDJSON", "CSV", "Parquet"])
def test_a_download_holds_what_the_search_finds(search: Search, world: World, tmp_path: Path, file_format: str) -> None:
    search.open({**world.many, "q": QUERY})
    expect(search.status).to_have_text("1,000+ rows")
    search.page.get_by_role("button", name="Download").click()
    with search.page.expect_download() as downloading:
        search.page.get_by_role("menuitem", name=file_format).click()
    path = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(path)
    found = world.system.search(QUERY, start=world.many_start, end=world.many_end)
    assert len(found) == 22_000
    assert sorted(messages(path, file_format)) == sorted(event["message"] for event in found)
