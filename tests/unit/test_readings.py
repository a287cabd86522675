"""Texts that mean words, and what people meant by them: what an answer without rows offers."""

from __future__ import annotations

import pytest

from ess_ray.language.readings import other_readings

READ = {
    "duration_ms > 500": ["duration_ms:>500"],
    "duration_ms >= 500 b": ["duration_ms:>=500 b"],
    "duration_ms >500": ["duration_ms:>500"],
    "duration_ms> 500": ["duration_ms:>500"],
    'service = "api gw"': ['service:"api gw"'],
    "service == api": ["service:api"],
    "status = '500'": ["status:500"],
    "level != ERROR": ["-level:ERROR"],
    "service :api": ["service:api"],
    "service : api": ["service:api"],
    "(a = b)": ["(a:b)"],
    "level=ERROR": ["level:ERROR"],
    "level: ERROR": ["level:ERROR"],
    "+timeout -x": ["timeout -x"],
    "!timeout": ["-timeout"],
    "level:ERROR&&status:500": ["level:ERROR AND status:500"],
    "a||b": ["a OR b"],
    "a && b or c": ["a AND b OR c"],
    "_exists_:tags": ["tags:*"],
    '_missing_:"a b"': ['-"a b":*'],
    "$price:5": ['"$price":5'],
}
AS_THEY_ARE = [
    "a + b", "a > b", "x -> y", "10 > 5", "i++", "a >", "&& a", "timeout > 5s", '"a&&b"', "/a||b/", "a = (b)", "C++",
    "-level=ERROR", '"a > 5"', "++x", "!=",
]  # fmt: skip


@pytest.mark.parametrize("text", READ)
def test_what_was_meant_is_offered(text: str) -> None:
    assert [reading.query for reading in other_readings(text)] == READ[text]


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_a_text_that_is_no_more_than_one_is_left_alone(text: str) -> None:
    assert other_readings(text) == []
