"""The section `alerts`: who is told of alerts."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
_FORBID: Final = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Receiver(BaseModel):
    """`url`: `webhook+https://...`, `alertmanager+https://...`, or any of apprise, such as `mailtos://...`. It is
    never printed."""

    model_config = _FORBID

    name: Annotated[str, Field(pattern=NAME)]
    url: SecretStr

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or not rest or not scheme.isprintable():
            raise ValueError("give webhook+https://HOST/PATH, alertmanager+https://HOST, or a URL of apprise")
        if scheme.startswith(("webhook+", "alertmanager+")) and scheme.partition("+")[2] not in ("http", "https"):
            raise ValueError("behind webhook+ and alertmanager+ stands http or https")
        return value


class Alerts(BaseModel):
    """Who is told of alerts. Every receiver is told of all, unless a group of rules names its own.

    `page_url`: where people open the web page, for links to an alert's events; empty: the address of `http`.
    `allow_hosts`: names and addresses that may be connected to though they are this machine, on its link, or a cloud's
    metadata service.
    """

    model_config = _FORBID

    receivers: list[Receiver] = []
    page_url: str = ""
    allow_hosts: list[Annotated[str, Field(min_length=1)]] = []

    @field_validator("page_url")
    @classmethod
    def _check_page(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("give the address as http://HOST:PORT")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_names(self) -> Alerts:
        names = [one.name for one in self.receivers]
        if len(set(names)) < len(names):
            raise ValueError("two receivers have the same name")
        return self
