"""The whole answer as a file: every row that the search finds, in each format, whatever the page shows."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Person
from tests.browser.data import World
from tests.browser.pages import Search
from tests.proxy import http_proxy

QUERY = "service:bulk level:ERROR"
FEW = '"segment-7 "'
NO_PICKER = "delete window.showSaveFilePicker"
"""As in Firefox and Safari, and wherever a page comes neither over https nor from this machine."""
PICKER = """
window.picked = []
window.showSaveFilePicker = async ({ suggestedName }) => {
  if (window.refuses) throw new DOMException('The user aborted a request.', 'AbortError')
  const file = { name: suggestedName, chunks: [], ended: null }
  window.picked.push(file)
  return {
    createWritable: async () => ({
      write: async (chunk) => { file.chunks.push(chunk.slice()) },
      close: async () => { file.ended = 'closed' },
      abort: async () => { file.ended = 'aborted' },
    }),
  }
}
"""
"""In the place of the browser's own dialog, which no test can answer: keeps what is written."""
PICKED = """async () => await Promise.all(
  picked.map(async ({ name, chunks, ended }) => [name, ended, chunks.length, await new Blob(chunks).text()]))"""


def messages(path: Path, file_format: str) -> list[str]:
    if file_format == "NDJSON":
        return [json.loads(line)["message"] for line in path.read_text().splitlines()]
    if file_format.startswith("CSV"):
        with path.open(newline="") as file:
            return [row["message"] for row in csv.DictReader(file)]
    found: list[str] = pq.read_table(path).column("message").to_pylist()
    return found


@pytest.mark.parametrize("file_format", ["NDJSON", "CSV: all fields", "CSV: the columns shown", "Parquet"])
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
    if file_format.endswith("shown"):
        heads = search.page.get_by_role("columnheader").all_inner_texts()
        assert path.read_text().splitlines()[0].replace('"', "").split(",") == [
            {"Time": "timestamp", "Level": "level", "Message": "message"}.get(head, head) for head in heads
        ]


def ready(person: Person, view: dict[str, str], script: str) -> Page:
    """Show rows to somebody with a key, whose downloads are therefore fetched by the page itself."""
    person.page.add_init_script(f"sessionStorage.setItem('ess-key', 'ess_any')\n{script}")
    person.search.open(view)
    return person.page


def download(page: Page) -> None:
    page.get_by_role("button", name="Download").click()
    page.get_by_role("menuitem", name="NDJSON").click()


def check_whole(text: str, world: World, view: dict[str, str]) -> None:
    """The text holds, as NDJSON, what a search of the view finds."""
    found = world.system.search(view["q"], start=view["start"], end=view["end"])
    assert len(found) > 100
    downloaded = sorted(json.loads(line)["message"] for line in text.splitlines())
    assert downloaded == sorted(event["message"] for event in found)


def test_a_download_with_a_key_is_written_into_the_chosen_file_as_it_comes(person: Person, world: World) -> None:
    view = {**world.many, "q": QUERY}
    page = ready(person, view, PICKER + "window.refuses = true")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    download(page)  # and choose no file: nothing is started
    page.evaluate("window.refuses = false")
    download(page)
    expect(page.get_by_role("list", name="Downloads").get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("list", name="Downloads")).to_contain_text("Whole:")
    [(name, ended, chunks, text)] = page.evaluate(PICKED)
    assert re.fullmatch(r"ess-.+\.ndjson", name)
    assert (ended, chunks > 1) == ("closed", True)
    check_whole(text, world, view)
    assert len([url for url in asked if "/export" in url]) == 1


def test_a_download_that_is_broken_off_is_thrown_away_and_told(world: World, new_person: Callable[..., Person]) -> None:
    with http_proxy(world.system.port) as proxy:
        person = new_person(proxy.endpoint)
        person.complaints.expect("Failed to load resource")
        page = ready(person, {**world.many, "q": FEW}, PICKER)
        proxy.order("cut", method="GET", containing="/export")
        download(page)
        failed = page.get_by_role("list", name="Downloads").get_by_role("alert")
        expect(failed).to_contain_text("broken off, so that it is not whole")
        [(_, ended, _, _)] = page.evaluate(PICKED)
        assert ended == "aborted"


def test_a_browser_that_cannot_write_files_keeps_a_download_until_it_is_whole(
    person: Person, world: World, tmp_path: Path
) -> None:
    view = {**world.many, "q": FEW}
    page = ready(person, view, NO_PICKER)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
        expect(page.get_by_role("menu")).to_contain_text("keeps a download in memory until it is whole")
        page.get_by_role("menuitem", name="NDJSON").click()
    path = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(path)
    expect(page.get_by_role("list", name="Downloads")).to_contain_text("Whole:")
    check_whole(path.read_text(), world, view)
