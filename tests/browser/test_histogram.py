"""Counts over time by level, the fields panel, and the plan of a search: what stands beside the rows."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.data import MANY_EVENTS, World
from tests.browser.pages import Search

_PIXELS = """
(canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  const seen = new Set()
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) seen.add(data.slice(at, at + 3).join())
  return seen.size
}
"""


def test_the_histogram_counts_what_the_search_finds_by_level(search: Search, world: World) -> None:
    search.open(world.many)
    image = search.chart.get_by_role("img")
    told = f"{MANY_EVENTS:,} events: ERROR 22,000, WARN 22,000, INFO 44,000, DEBUG 22,000"
    expect(image).to_have_attribute("aria-label", told)
    assert search.chart.locator("canvas").evaluate(_PIXELS) > 4


def test_it_fills_with_the_range(search: Search) -> None:
    search.open()
    expect(search.chart.get_by_text(re.compile(r"^[\d,]+ events$"))).to_be_visible()
    box = search.chart.locator(".u-over").bounding_box()
    assert box is not None
    search.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(search.chart.get_by_text(re.compile(r"^2\d{3}-\d\d-\d\d [\d:]+ – [\d:]+: [\d,]+$"))).to_be_visible()


def test_a_level_of_the_legend_narrows_the_query(search: Search) -> None:
    search.open({"q": "-nasty"})
    search.chart.get_by_title("Show WARN alone").click()
    expect(search.editor).to_have_text("-nasty level:WARN")
    search.wait()
    expect(search.chart.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"^[\d,]+ events: WARN [\d,]+$"))


def test_fields_are_listed_with_their_values_and_narrow_the_query(search: Search) -> None:
    search.open()
    fields = search.fields.get_by_role("list", name="Fields")
    expect(fields.get_by_role("button", name=re.compile("^service"))).to_be_visible()
    search.fields.get_by_label("Find a field").fill("serv")
    expect(fields.get_by_role("button")).to_have_count(1)
    fields.get_by_role("button").click()
    values = search.fields.get_by_role("list", name="Values of service")
    expect(values.get_by_role("listitem").filter(has_text="nginx")).to_contain_text("%")
    values.get_by_role("button", name="Filter for nginx").click()
    expect(search.editor).to_have_text("service:nginx")
    search.wait()
    expect(values.get_by_role("listitem")).to_have_count(1)
    expect(values).to_contain_text("100 %")
    search.fields.get_by_role("button", name="Filter out nginx").click()
    expect(search.editor).to_have_text("-service:nginx")
    search.wait()


def test_values_that_are_not_listed_are_found_by_how_they_begin(search: Search) -> None:
    search.open()
    search.fields.get_by_role("button", name=re.compile("^host")).click()
    values = search.fields.get_by_role("list", name="Values of host").get_by_role("listitem")
    expect(values).to_have_count(10)
    find = search.fields.get_by_role("searchbox", name="Values of host begin with")
    find.press_sequentially("auth-")
    expect(values).to_have_text([re.compile("^auth-")] * 4)
    expect(search.fields.get_by_text("4 values begin so")).to_be_attached()
    find.fill("AUTH-")
    expect(search.fields.get_by_text("No value begins so. Capital and small letters differ here.")).to_be_visible()
    find.fill("")
    expect(values).to_have_count(10)
    find.fill("auth-")
    expect(values).to_have_count(4)
    values.first.get_by_role("button", name=re.compile("^Filter for auth-")).click()
    expect(search.editor).to_have_text(re.compile("^host:auth-"))
    search.wait()
    expect(values).to_have_count(1)
    expect(find).to_have_value("auth-")


def test_a_field_becomes_a_column(search: Search) -> None:
    search.open({"q": "service:nginx"})
    search.fields.get_by_role("button", name=re.compile("^host")).click()
    search.fields.get_by_role("button", name="Show column host").click()
    expect(search.page.get_by_role("columnheader")).to_have_text(["Time", "Level", "service", "host", "Message"])


def test_the_panel_is_closed_and_stays_so(search: Search) -> None:
    search.open()
    search.fields.get_by_role("button", name="Close the fields (f)").click()
    expect(search.fields).to_have_count(0)
    search.open()
    expect(search.fields).to_have_count(0)
    search.page.keyboard.press("f")
    expect(search.fields).to_be_visible()


def test_a_plan_says_what_a_search_would_read(search: Search, world: World) -> None:
    search.open({**world.many, "q": "service:bulk"})
    search.type('service:bulk "segment-7 "')
    search.page.get_by_role("button", name="Explain").click()
    dialog = search.page.get_by_role("dialog", name="What this search would do")
    for figure in ("To read", "Objects", "Requests to the store", "Executor", "Lambda", "Query as understood"):
        expect(dialog.get_by_role("term").get_by_text(figure, exact=True)).to_be_visible()
    expect(dialog.get_by_role("definition").filter(has_text=re.compile(r"^\d+ of \d+, \d+ ruled out$"))).to_be_visible()
    assert search.view()["q"] == "service:bulk"  # it did not run: the address still has the query before
