"""The web page on a running system: it is at /, and takes nothing from the other applications."""

from __future__ import annotations

import html
import re

import pytest

from tests.systems import System


@pytest.mark.parametrize("path", ["/", "/tail", "/?q=level:ERROR&start=-1d"])
def test_the_page_is_at_the_systems_address(system: System, path: str) -> None:
    answer = system.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "script-src 'self';" in answer.headers["content-security-policy"]


def test_what_the_page_loads_is_there(system: System) -> None:
    # Empty where the page is not built: then it says so itself, and loads nothing.
    for file in re.findall(r'(?:src|href)="(/assets/[^"]+)"', system.http.get("/").text):
        assert system.http.get(file).status_code == 200


@pytest.mark.parametrize("path", ["/push/nothing", "/search/v1/nothing"])
def test_longer_prefixes_keep_their_paths(system: System, path: str) -> None:
    answer = system.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("prefix", ["push", "search"])
def test_the_interface_is_described_without_anything_from_elsewhere(system: System, prefix: str) -> None:
    answer = system.http.get(f"/{prefix}/docs")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    for path in system.http.get(f"/{prefix}/openapi.json").json()["paths"]:
        assert f"{system.url}/{prefix}{path}" in html.unescape(answer.text)
    assert system.http.get(f"/{prefix}/redoc").status_code == 404


def test_it_is_an_application_like_the_others(system: System) -> None:
    assert system.http.get("/search/v1/status").json()["replicas"]["ui"] == {"RUNNING": 1}
