"""A system of its own, with a Lambda function, on which keys are made and which is stopped: what the page then does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lambda_compat.local.environment import Function
from lambda_compat.local.service import LambdaService, local_lambda
from tests.browser.axe import grave_violations
from tests.browser.conftest import Person
from tests.browser.data import push_shop
from tests.browser.pages import Search
from tests.lambda_rigs import KEYS, ROOT, need_runtime_client
from tests.proxy import http_proxy
from tests.systems import System

HELD_AFTER_BYTES = 150_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locked") / "data"


@pytest.fixture(scope="module")
def invoked(browser: Browser, folder: Path) -> Iterator[LambdaService]:
    """A local Lambda service; its function `scan` reads the folder of the system, as it otherwise does a bucket."""
    need_runtime_client()
    environment = {"TABLE_URL": (folder / "events").as_uri(), "ANSWERS_URL": (folder / "lambda-answers").as_uri()}
    with local_lambda(Function("scan", "lambda_compat.handler.handler", ROOT, environment, concurrency=2)) as service:
        yield service


@pytest.fixture(scope="module")
def locked(invoked: LambdaService, folder: Path) -> Iterator[System]:
    """A system that wants a key, and has a function."""
    system = System(
        folder,
        ESS_LAMBDA__FUNCTION="scan",
        ESS_LAMBDA__ENDPOINT=invoked.endpoint,
        ESS_LAMBDA__ACCESS_KEY=KEYS["access_key"],
        ESS_LAMBDA__SECRET_KEY=KEYS["secret_key"],
        ESS_LAMBDA__MAX_CONCURRENCY="2",
    )
    system.up()
    try:
        push_shop(system, 5_000)
        system.ess("flush")
        yield system
    finally:
        system.down()
        system.http.close()


@pytest.fixture(scope="module")
def keys(locked: System) -> dict[str, str]:
    made = {}
    for name, scopes in {"searcher": ["search"], "pusher": ["push"], "admin": ["search", "admin"]}.items():
        flags = [flag for scope in scopes for flag in ("--scope", scope)]
        made[name] = json.loads(locked.ess("keys", "create", *flags, "--json").stdout)["key"]
    return made


def enter_key(person: Person, key: str) -> None:
    dialog = person.page.get_by_role("dialog", name="API key")
    dialog.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_role("button", name="Use this key").click()


def test_a_key_is_asked_for_kept_for_the_tab_and_never_in_an_address(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    person = new_person(locked.url)
    person.complaints.expect("status of 401")
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    person.page.goto("/?q=level:ERROR")
    expect(person.page.get_by_text("This system wants a key.")).to_be_attached()
    enter_key(person, "ess_no-such-key")
    expect(person.page.get_by_role("dialog", name="API key")).to_contain_text("is not accepted")
    enter_key(person, keys["searcher"])
    person.search.wait()
    expect(person.search.rows.first).to_be_visible()
    person.page.reload()
    person.search.wait()
    expect(person.search.rows.first).to_be_visible()
    with person.page.expect_download() as downloading:
        person.page.evaluate("delete window.showSaveFilePicker")  # no dialog of the system's can be answered here
        person.page.get_by_role("button", name="Download").click()
        person.page.get_by_role("menuitem", name="NDJSON").click()
    assert downloading.value.failure() is None
    assert keys["searcher"] not in " ".join([*asked, person.page.url])
    other = person.page.context.new_page()
    other.goto(person.page.url)
    dialog = other.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    # On purpose it is kept for all tabs, until it is forgotten.
    dialog.get_by_label("Keep it in this browser").check()
    dialog.get_by_label("Key", exact=True).fill(keys["searcher"])
    dialog.get_by_role("button", name="Use this key").click()
    another = person.page.context.new_page()
    another.goto(person.page.url)
    button = another.get_by_role("button", name="API key: set, tenant default")
    button.click()
    expect(another.get_by_role("dialog", name="API key")).to_contain_text("is for the tenant default: search")
    another.get_by_role("button", name="Forget the key").click()
    another.reload()
    expect(another.get_by_role("dialog", name="API key")).to_be_visible()


def test_the_status_wants_a_key_of_the_admin(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    person = new_person(locked.url)
    person.complaints.expect("status of 40")
    person.page.goto("/status")
    enter_key(person, keys["searcher"])
    expect(person.page.get_by_role("alert")).to_contain_text("it needs the scope “admin”")
    person.page.get_by_role("button", name="Enter a key").click()
    enter_key(person, keys["admin"])
    expect(person.page.get_by_role("dialog")).to_have_count(0)
    expect(person.page.get_by_role("region", name="Persist actors")).to_be_visible()


@pytest.mark.parametrize(("path", "action"), [("/?q=level:ERROR", "search"), ("/tail?q=level:ERROR", "follow events")])
def test_a_key_that_may_not_search_is_told_so_once_and_can_be_changed(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person], path: str, action: str
) -> None:
    person = new_person(locked.url)
    person.complaints.expect("status of 40")
    page = person.page
    page.goto(path)
    enter_key(person, keys["pusher"])
    told = page.get_by_role("alert").filter(has_text=re.compile("."))
    expect(told).to_contain_text(f"The key of this tab may not {action}: it needs the scope “search”.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(told).to_have_count(1)
    expect(page.get_by_text(re.compile("are not there|cannot be counted"))).to_have_count(0)
    assert grave_violations(page) == []
    told.get_by_role("button", name="Enter a key").click()
    enter_key(person, keys["searcher"])
    expect(told).to_have_count(0)
    if action == "search":
        person.search.wait()
        expect(person.search.rows.first).to_be_visible()
        expect(person.search.fields.get_by_role("list", name="Fields").get_by_role("listitem").first).to_be_visible()
    else:
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.get_by_role("button", name="API key: set").click()
    page.get_by_role("dialog", name="API key").get_by_role("button", name="Forget the key").click()
    expect(page.get_by_text("This system wants a key.")).to_be_attached()


def choose(search: Search, executor: str) -> tuple[int, list[str | None]]:
    """Choose an executor and wait for its answer; gives how many rows it has, and the events of those on the screen."""
    with search.page.expect_request(lambda request: request.url.endswith("/search/v1/queries")) as asked:
        search.page.get_by_label("Executor").select_option(executor)
    assert asked.value.post_data_json["executor"] == executor.lower()
    count = search.count()
    expect(search.rows.first).to_be_visible()
    return count, [row.get_attribute("data-event") for row in search.rows.all()]


def test_lambda_and_auto_are_chosen_and_show_what_ray_shows(
    locked: System, invoked: LambdaService, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    person = new_person(locked.url)
    person.complaints.expect("status of 401")
    search, page = person.search, person.page
    page.goto("/?q=level:ERROR")
    enter_key(person, keys["searcher"])
    search.wait()
    by_ray = choose(search, "Ray")
    assert by_ray[0] > 10
    assert invoked.functions["scan"].cold_starts == 0
    assert choose(search, "Lambda") == by_ray
    expect(page.get_by_text(re.compile(r" · Lambda: \d+ invocations · \$\d"))).to_be_visible()
    assert invoked.functions["scan"].cold_starts > 0
    assert search.view()["executor"] == "lambda"
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile(r"\d invocations, about \$"))
    page.keyboard.press("Escape")
    assert choose(search, "Auto") == by_ray


def test_a_server_that_stops_in_the_middle_is_told_and_the_rows_stay(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    """The last test of this system: it is killed."""
    with http_proxy(locked.port) as proxy:
        person = new_person(proxy.endpoint)
        person.complaints.expect("Failed to load resource")
        search = person.search
        search.page.goto("/?q=kqxzvwjq")
        enter_key(person, keys["searcher"])
        search.wait()
        proxy.hold(HELD_AFTER_BYTES)
        proxy.order("cut", times=2, method="GET", containing="/stream")  # of the rows, and of the counts
        search.type("-kqxzvwjq")
        search.page.keyboard.press("Enter")
        expect(search.page.get_by_text(re.compile(r"^\d+ rows so far …$"))).to_be_visible()
        locked.kill_everything()
        proxy.release()
        expect(search.status).to_have_text(re.compile(r"^\d+ rows, then it failed$"))
        expect(search.page.get_by_text("The server cannot be reached.").first).to_be_visible()
        expect(search.row(0)).to_be_visible()
        assert search.count() > 100
