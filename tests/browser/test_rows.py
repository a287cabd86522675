"""A row: its level, its marks, wrapping, columns; opened, copied, narrowed by, followed to its host and its trace."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.data import LONG_CHARS, NASTY, World
from tests.browser.pages import Search

TONES = {"DEBUG": "debug", "INFO": "info", "WARN": "warn", "ERROR": "error"}


def test_levels_have_colours_of_their_own(search: Search) -> None:
    search.open({"order": "oldest"})
    colours = set()
    for level, tone in TONES.items():
        search.run(f"level:{level}")
        row = search.row(0)
        expect(row.locator("[data-tone]")).to_have_attribute("data-tone", tone)
        cell = row.get_by_role("gridcell").filter(has_text=re.compile(f"^{level}$"))
        colours.add(cell.evaluate("(cell) => getComputedStyle(cell).color"))
    assert len(colours) == len(TONES)


def test_what_was_found_is_marked(search: Search) -> None:
    search.open({"q": 'get "HTTP/1.1" /rt=0\\.\\d+/ -nasty service:nginx'})
    marks = search.row(0).locator("mark")
    assert {mark.lower() for mark in marks.all_inner_texts()} >= {"get", "http/1.1"}
    expect(marks.filter(has_text=re.compile(r"^rt=0\.\d+$")).first).to_be_visible()


def test_long_messages_wrap_when_asked(search: Search) -> None:
    search.open({"q": "service:nginx"})
    row = search.row(0)
    before = row.bounding_box()
    search.page.keyboard.press("w")
    expect(search.page.get_by_title("Wrap long messages (w)")).to_have_attribute("aria-pressed", "true")
    after = row.bounding_box()
    assert before is not None
    assert after is not None
    assert after["height"] >= before["height"]
    search.open({"q": "nasty long", "wrap": "1"})
    tall = search.row(0).bounding_box()
    assert tall is not None
    assert tall["height"] > 3 * before["height"]


def test_columns_come_and_go(search: Search) -> None:
    search.open({"q": "service:nginx"})
    heads = search.page.get_by_role("columnheader")
    expect(heads).to_have_text(["Time", "Level", "service", "Message"])
    search.page.get_by_role("button", name="Columns").click()
    search.page.get_by_role("menuitemcheckbox", name="host").click()
    search.page.keyboard.press("Escape")
    expect(heads).to_have_text(["Time", "Level", "service", "host", "Message"])
    row = search.expand(0)
    row.get_by_role("button", name="Hide column service").click()
    expect(heads).to_have_text(["Time", "Level", "host", "Message"])
    assert search.view()["columns"] == "host"


def test_an_opened_row_shows_every_field_and_is_copied(page: Page, search: Search) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    search.open({"q": "service:nginx"})
    row = search.expand(0)
    message = row.locator("pre").inner_text()
    for name in ("timestamp", "service", "host", "trace_id", "_ess.log_id", "_ess.offset"):
        expect(row.get_by_role("term").get_by_text(name, exact=True)).to_be_visible()
    row.get_by_role("button", name="Copy message").click()
    expect(row.get_by_role("button", name="message copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == message
    row.get_by_role("button", name="Copy JSON").click()
    expect(row.get_by_role("button", name="JSON copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText().then(JSON.parse)")["message"] == message
    row.get_by_role("gridcell").first.click()
    expect(row).to_have_attribute("aria-expanded", "false")


def test_a_value_filters_for_and_out(search: Search) -> None:
    search.open({"q": "service:nginx"})
    host = search.expand(0).get_by_role("button", name="Filter for host")
    host.click()
    expect(search.editor).to_have_text(re.compile(r"^service:nginx host:\S+$"))
    search.wait()
    query = search.editor.inner_text()
    search.expand(0).get_by_role("button", name="Filter out host").click()
    expect(search.editor).to_have_text(query.replace("host:", "-host:"))
    search.wait()


def test_what_the_host_said_before_and_after_is_shown(search: Search) -> None:
    search.open({"q": "service:nginx"})
    search.scroll_to(500)  # enough came after it
    row = search.expand(500)
    row.get_by_role("button", name="Show around").click()
    dialog = search.page.get_by_role("dialog", name=re.compile("^Before and after, on "))
    rows = dialog.get_by_role("row")
    expect(rows).to_have_count(51)  # it, and 25 on each side
    middle = dialog.locator('[aria-current="true"]')
    expect(middle).to_be_in_viewport()
    times = dialog.locator("time").evaluate_all("(all) => all.map((one) => one.dateTime)")
    assert times == sorted(times)
    assert middle.locator("time").get_attribute("datetime") == row.locator("time").get_attribute("datetime")
    search.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_trace_is_followed(search: Search) -> None:
    search.open({"q": "service:nginx trace_id:*"})
    search.scroll_to(500)
    search.expand(500).get_by_role("link", name="Trace’s events").click()
    expect(search.editor).to_have_text(re.compile(r"^trace_id:[0-9a-f]{32}$"))
    search.wait()
    assert search.count() > 1
    assert search.view()["order"] == "oldest"


@pytest.mark.parametrize("number", range(len(NASTY)))
def test_text_that_means_harm_is_only_text(search: Search, number: int) -> None:
    kind = " ".join(NASTY[number].split("\u200b")[0].split()[:2])
    search.open({"q": f'service:nasty "{kind}"', "start": "-1d"})
    expect(search.status).to_have_text("1 row")
    row = search.expand(0)
    shown = row.locator("pre").inner_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", shown)
    assert search.page.evaluate("window.harmed") is None
    expect(search.grid.locator("script, img, b, a[href^='http']")).to_have_count(0)
    for codes in re.findall("[\x00\x07\x1b\u200b\u202e\u2066\ufeff]", NASTY[number]):
        expect(row.locator("pre").get_by_title(f"U+{ord(codes):04X}").first).to_be_attached()


def test_a_line_of_100_kb_is_cut_in_its_row_and_whole_on_request(search: Search, world: World) -> None:
    search.open({"q": 'service:nasty "nasty long"'})
    row = search.row(0)
    assert len(row.inner_text()) < 2_000
    search.expand(0).get_by_role("button", name=f"Show all {LONG_CHARS:,} characters").click()
    assert len(row.locator("pre").inner_text()) == LONG_CHARS
