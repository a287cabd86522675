"""The question: its colours, completion, history, errors, time range, executor, and the address that holds it all."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Person
from tests.browser.data import World
from tests.browser.pages import Search


def test_the_query_is_coloured_as_it_is_written(search: Search) -> None:
    search.open()
    search.type('level:ERROR "read timed" /user=\\d+/ OR -x')
    for kind, text in {"field": "level:", "phrase": '"read timed"', "regex": "/user=\\d+/", "operator": "OR"}.items():
        expect(search.editor.locator(f".q-{kind}")).to_have_text(text)


def test_fields_and_values_are_offered(search: Search) -> None:
    search.open()
    search.type("ser")
    options = search.page.get_by_role("listbox")
    expect(options.get_by_role("option").first).to_contain_text("service:")
    search.page.keyboard.press("Tab")
    expect(search.editor).to_have_text("service:")
    expect(options).to_contain_text("api-gateway")
    search.page.keyboard.type("api")
    expect(options.get_by_role("option")).to_have_count(1)
    search.page.keyboard.press("Tab")
    expect(search.editor).to_have_text("service:api-gateway")


def test_earlier_queries_are_kept_and_run_again(search: Search) -> None:
    search.open()
    search.run("level:ERROR")
    search.run("level:WARN")
    search.page.get_by_role("button", name="Earlier queries").click()
    items = search.page.get_by_role("menuitem")
    expect(items.nth(0)).to_have_text("level:WARN")
    items.nth(1).click()
    expect(search.editor).to_have_text("level:ERROR")
    search.wait()
    assert search.view()["q"] == "level:ERROR"


def test_an_error_is_told_and_shown_at_its_place(person: Person) -> None:
    person.complaints.expect("status of 400")
    search = person.search
    search.open()
    search.type("level:ERROR AND )")
    search.page.keyboard.press("Enter")
    expect(search.page.get_by_role("alert").filter(has_text=re.compile("."))).to_be_visible()
    expect(search.editor.locator(".q-error")).to_have_text(")")
    expect(search.page.get_by_text("The query cannot be run")).to_be_visible()
    search.type("level:ERROR")
    expect(search.editor.locator(".q-error")).to_have_count(0)


def test_presets_and_lengths_of_ones_own_choose_the_range(search: Search) -> None:
    search.open()
    button = search.page.get_by_title("Time range (t)")
    button.click()
    search.page.get_by_role("button", name="12 h", exact=True).click()
    expect(button).to_contain_text("Last 12 hours")
    assert search.view()["start"] == "-12h"
    button.click()
    search.page.get_by_label("Last", exact=True).fill("36h")
    search.page.get_by_role("button", name="Apply", exact=True).click()
    expect(button).to_contain_text("Last 36 hours")
    search.wait()


def test_two_moments_choose_the_range_in_the_zone_that_is_shown(search: Search) -> None:
    search.open()
    button = search.page.get_by_title("Time range (t)")
    button.click()
    search.page.get_by_label("Start", exact=True).fill("2026-01-02T10:00:00")
    search.page.get_by_label("End (empty: now)").fill("2026-01-02T11:00:00")
    search.page.get_by_role("button", name="Apply start and end").click()
    expect(button).to_contain_text("2026-01-02 10:00:00 – 11:00:00")
    search.wait()
    # Five and a half hours before, in UTC.
    assert search.view()["start"] == "2026-01-02T04:30:00.000Z"
    assert search.view()["end"] == "2026-01-02T05:30:00.000Z"
    button.click()
    search.page.get_by_label("UTC").check()
    expect(button).to_contain_text("2026-01-02 04:30:00 – 05:30:00")
    expect(search.page.get_by_text("Nothing matches in this time range")).to_be_attached()


def test_times_are_shown_in_local_time_or_utc(search: Search, world: World) -> None:
    search.open(world.many)
    time = search.row(0).locator("time")
    local, stored = time.inner_text(), time.get_attribute("datetime") or ""
    search.page.keyboard.press("u")
    expect(time).not_to_have_text(local)
    assert stored[5:16].replace("T", " ") == time.inner_text()[:11]
    assert search.view()["tz"] == "utc"


def test_dragging_over_the_histogram_zooms(search: Search) -> None:
    search.open()
    box = search.chart.locator(".u-over").bounding_box()
    assert box is not None
    button = search.page.get_by_title("Time range (t)")
    expect(button).to_contain_text("Last hour")
    y = box["y"] + box["height"] / 2
    search.page.mouse.move(box["x"] + box["width"] * 0.4, y)
    search.page.mouse.down()
    search.page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=5)
    search.page.mouse.up()
    expect(button).not_to_contain_text("Last hour")
    search.wait()
    view = search.view()
    assert view["start"] < view["end"]
    search.page.go_back()
    expect(button).to_contain_text("Last hour")


def test_the_executor_is_chosen(search: Search) -> None:
    search.open()
    with search.page.expect_request(lambda request: request.url.endswith("/search/v1/queries")) as asked:
        search.page.get_by_label("Executor").select_option("ray")
    assert asked.value.post_data_json["executor"] == "ray"
    search.wait()
    assert search.view()["executor"] == "ray"


def test_an_executor_that_the_system_has_not_is_told_and_another_can_be_chosen(person: Person, world: World) -> None:
    """`test_endings` has a system with a function. The range stays: events leave "the last hour" while one looks."""
    person.complaints.expect("status of 400")
    search = person.search.open(world.many | {"q": 'service:bulk level:ERROR "bulk row 0000"'})
    rows = search.count()
    search.page.get_by_label("Executor").select_option("lambda")
    told = search.page.get_by_role("alert").filter(has_text=re.compile("."))
    expect(told).to_contain_text("no Lambda function is configured: set lambda.function")
    expect(told).to_have_count(1)
    search.page.get_by_label("Executor").select_option("auto")
    expect(told).to_have_count(0)
    assert search.count() == rows


def test_the_address_shares_the_view(search: Search, world: World, new_person: Callable[..., Person]) -> None:
    search.open(world.many | {"q": "service:bulk level:ERROR", "tz": "utc", "columns": "service,host", "wrap": "1"})
    search.page.get_by_role("button", name="Newest first").click()
    expect(search.row(0)).to_contain_text("bulk row 000004")
    other = new_person(world.system.url)
    other.page.goto(search.page.url)
    other.search.wait()
    expect(other.search.editor).to_have_text("service:bulk level:ERROR")
    expect(other.page.get_by_role("columnheader")).to_have_text(["Time", "Level", "service", "host", "Message"])
    assert other.search.row(0).inner_text() == search.row(0).inner_text()
    expect(other.page.get_by_title("Wrap long messages (w)")).to_have_attribute("aria-pressed", "true")


def test_back_and_forward_go_through_the_views(page: Page, search: Search) -> None:
    search.open()
    search.run("level:ERROR")
    search.run("level:WARN")
    page.go_back()
    expect(search.editor).to_have_text("level:ERROR")
    page.go_forward()
    expect(search.editor).to_have_text("level:WARN")
    search.wait()
