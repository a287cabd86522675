"""The endpoints of alerts: rules, what they came to, silences. Who evaluates them is an actor of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from deployments.access import Access, Tenant
from deployments.answers import json_answer
from ess_ray.alerts.asking import Asks, rows_query
from ess_ray.alerts.book import AlertBook, Applied
from ess_ray.alerts.policy import preview
from ess_ray.alerts.rules import MAX_RULES, Group, Rule, read_group
from ess_ray.alerts.running import key_of, rule_of
from ess_ray.alerts.silences import (
    MAX_COMMENT_CHARS,
    Matcher,
    Silence,
    check_matchers,
    covering,
    read_matchers,
    silence_us,
)
from ess_ray.alerts.states import Episode, Evaluation, RuleState, fingerprint
from ess_ray.alerts.telling import KEEP_ENDED_US
from ess_ray.core.errors import BadRequest, CorruptData, EssError, Forbidden
from ess_ray.core.timestamps import format_timestamp

_log = logging.getLogger(__name__)

Wake = Callable[[], Awaitable[object]]
"""Tells whoever evaluates rules that something is new."""
_BODY = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
GroupName = Annotated[str, Path(description="The group's name.", min_length=1, max_length=100)]


class RuleBody(BaseModel):
    """A rule. `expr` is a query, or one with `| stats ...` or `| patterns` behind it; each row of one with `by`, and
    each pattern, is an alert of its own.

    It looks at what was received in the `window` before its evaluation, whatever time events tell of themselves.
    """

    model_config = _BODY

    alert: str
    expr: str
    condition: str | None = None
    """A column of the answer and a number: `n > 100`. Default: `count() > 0`."""
    window: str | None = None
    """Default: 5m."""
    for_: Annotated[str | int | None, Field(alias="for")] = None
    """How long the condition must be met before it fires. Default: at once."""
    labels: dict[str, str | int | float] | None = None
    annotations: dict[str, str | int | float] | None = None
    missing_data: Literal["ok", "alert", "keep"] | None = None
    """What it means that nothing was received. Default: ok."""


class GroupBody(BaseModel):
    """Rules that are evaluated together. `name`: as in the address, or left out."""

    model_config = _BODY

    name: str | None = None
    interval: str | None = None
    """Between two evaluations. Default: 1m."""
    rules: Annotated[list[RuleBody], Field(min_length=1, max_length=MAX_RULES)]
    receivers: list[str] | None = None
    """Who is told, by the names in the settings. Default: all."""


class MatcherBody(BaseModel):
    """A label compared with a text, or with a regular expression that must match all of it."""

    model_config = _BODY

    name: str
    value: str
    sign: Literal["=", "!=", "=~", "!~"] = "="


class SilenceBody(BaseModel):
    """Which alerts nobody is to be told of, and for how long from now."""

    model_config = _BODY

    matchers: str | list[MatcherBody]
    """As text: `alertname="High", service=~"api.*"`."""
    for_: Annotated[str, Field(alias="for")]
    """Such as 2h."""
    comment: Annotated[str, Field(max_length=MAX_COMMENT_CHARS)] = ""
    created_by: Annotated[str, Field(max_length=MAX_COMMENT_CHARS)] = ""


class AlertsApi:
    """The endpoints over their parts; `route_alerts` routes to them."""

    def __init__(
        self,
        book: AlertBook,
        asks: Asks,
        access: Access,
        receivers: Sequence[str],
        wake: Wake,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """`receivers`: the names of those that there are."""
        self._now_us = now_us
        self._book, self._asks, self._receivers, self._wake = book, asks, receivers, wake
        self._admin = access.tenant_for("admin")
        self._either = either(access.tenant_for("search"), self._admin)

    # ----------------------------------------------------------------------------------------------------------- rules
    async def apply(self, request: Request, group: GroupName, body: GroupBody) -> Response:
        """Keep a group of rules, in place of one of this name. Rules that are as before stay where they stand."""
        tenant = await self._admin(request)
        read = self._read(group, body)
        is_new = await asyncio.to_thread(self._book.apply, tenant, read)
        await self._tell()
        return json_answer({"name": read.name, "created": is_new, "rules": len(read.rules)})

    async def rules(self, request: Request, group: GroupName) -> Response:
        """Give a group of rules as it was applied."""
        tenant = await self._admin(request)
        return json_answer((await asyncio.to_thread(self._book.group, tenant, group)).told)

    async def all_rules(self, request: Request) -> Response:
        """Give all groups as they were applied."""
        tenant = await self._admin(request)
        found = await asyncio.to_thread(self._book.groups, tenant)
        return json_answer({"groups": [one.group.told for one in found if one.group is not None]})

    async def remove(self, request: Request, group: GroupName) -> Response:
        """Let a group of rules go. Who was told that one of them fires is told that it is resolved."""
        tenant = await self._admin(request)
        await asyncio.to_thread(self._book.delete, tenant, group)
        await self._tell()
        return json_answer({"name": group, "deleted": True})

    async def check(self, request: Request, body: GroupBody) -> Response:
        """Tell whether a group of rules could be kept, without keeping it."""
        await self._either(request)
        read = self._read(body.name or "check", body)
        return json_answer({"name": read.name, "rules": len(read.rules)})

    async def test(self, request: Request, body: GroupBody) -> Response:
        """Tell what a group of rules would give just now, without keeping it: nobody is told of anything."""
        tenant = await self._either(request)
        read = self._read(body.name or "test", body)
        now_us = self._now_us()
        told = [await self._tried(tenant, rule, now_us) for rule in read.rules]
        return json_answer({"name": read.name, "complete": all(one["complete"] for one in told), "rules": told})

    async def _tried(self, tenant: str, rule: Rule, now_us: int) -> dict[str, Any]:
        window = (now_us - rule.window_us, now_us)
        answer = await self._asks.ask(tenant, rule, window)
        readings = preview(rule, answer)
        return {
            "alert": rule.alert,
            "complete": answer.complete,
            "incomplete": list(answer.incomplete),
            "events": answer.events,
            "arrived_from": format_timestamp(window[0]),
            "arrived_until": format_timestamp(window[1]),
            "elapsed_ms": answer.elapsed_ms,
            "rows": [{"labels": dict(one.labels), "value": one.value, "met": one.met} for one in readings],
        }

    def _read(self, name: str, body: GroupBody) -> Group:
        told = body.model_dump(by_alias=True, exclude_none=True)
        if body.name not in (None, name):
            raise BadRequest(f"the body calls the group {body.name}, the address {name}")
        group = read_group({**told, "name": name})
        unknown = sorted(set(group.receivers or ()) - set(self._receivers))
        if unknown:
            known = ", ".join(self._receivers) or "none: set alerts.receivers"
            raise BadRequest(f"there is no receiver {', '.join(unknown)} in the settings: there are {known}")
        return group

    # ---------------------------------------------------------------------------------------------------------- alerts
    async def alerts(self, request: Request) -> Response:
        """Tell what is pending, fires, or was resolved within the hour, and how each rule was evaluated last."""
        tenant = await self._either(request)
        return json_answer(await asyncio.to_thread(self._alerts, tenant))

    def _alerts(self, tenant: str) -> dict[str, Any]:
        now_us, silences = self._now_us(), self._book.silences(tenant)
        alerts: list[dict[str, Any]] = []
        groups: list[dict[str, Any]] = []
        for applied in self._book.groups(tenant):
            state: dict[str, RuleState] = {}
            flaw = applied.flaw
            try:
                state = self._book.state(tenant, applied.name)
            except CorruptData as error:
                flaw = error.message
            groups.append({**_told_group(applied, state), "flaw": flaw})
            for key, one in state.items():
                rule = None if applied.group is None else rule_of(applied.group, key)
                alerts += [
                    {**_told_alert(applied.name, episode, silences, now_us), "query": _rows_query(rule, one, episode)}
                    for episode in _shown(one, now_us)
                ]
        alerts.sort(key=lambda one: (_ORDER[one["state"]], one["active_at"]))
        return {"alerts": alerts, "groups": groups, "receivers": list(self._receivers)}

    # -------------------------------------------------------------------------------------------------------- silences
    async def silence(self, request: Request, body: SilenceBody) -> Response:
        """Have nobody told of alerts that match, from now on, for a while. Who knows of one is told of its end."""
        tenant = await self._either(request)
        matchers = _matchers(body.matchers)
        now_us = self._now_us()
        made = await asyncio.to_thread(
            self._book.silence,
            tenant,
            matchers,
            starts_us=now_us,
            ends_us=now_us + silence_us(body.for_),
            comment=body.comment,
            created_by=body.created_by,
        )
        await self._tell()
        return json_answer(_told_silence(made, now_us), 201)

    async def silences(self, request: Request) -> Response:
        """Give the silences, those that ended within a day too."""
        tenant = await self._either(request)
        found = await asyncio.to_thread(self._book.silences, tenant)
        return json_answer({"silences": [_told_silence(one, self._now_us()) for one in found]})

    async def end_silence(
        self, request: Request, silence_id: Annotated[str, Path(description="Of a silence of this tenant.")]
    ) -> Response:
        """End a silence. Idempotent."""
        tenant = await self._either(request)
        found = await asyncio.to_thread(self._book.end_silence, tenant, silence_id)
        await self._tell()
        return json_answer(_told_silence(found, self._now_us()))

    async def _tell(self) -> None:
        try:
            await self._wake()
        except EssError as error:
            _log.warning("what is new of alerts is heeded a little later: %s", error.message)


def either(first: Tenant, second: Tenant) -> Tenant:
    """Give the door of endpoints that one of two scopes opens."""

    async def tenant(request: HTTPConnection) -> str:
        try:
            return await first(request)
        except Forbidden:
            return await second(request)

    return tenant


_ORDER = {"firing": 0, "pending": 1, "resolved": 2}


def _matchers(told: str | Sequence[MatcherBody]) -> tuple[Matcher, ...]:
    if isinstance(told, str):
        return read_matchers(told)
    return check_matchers([Matcher(one.name, one.sign, one.value) for one in told])


def _shown(state: RuleState, now_us: int) -> list[Episode]:
    return [one for one in state.episodes if one.ended_us is None or now_us - one.ended_us < KEEP_ENDED_US]


def _told_alert(group: str, episode: Episode, silences: Sequence[Silence], now_us: int) -> dict[str, Any]:
    return {
        "group": group,
        "labels": dict(episode.labels),
        "annotations": dict(episode.annotations),
        "state": episode.state,
        "value": episode.value,
        "active_at": format_timestamp(episode.since_us),
        "starts_at": _time(episode.fired_us),
        "ends_at": _time(episode.ended_us),
        "fingerprint": fingerprint(episode.labels),
        "silenced_by": covering(silences, episode.labels, now_us) if episode.ended_us is None else [],
        "told": dict(episode.told),
    }


def _rows_query(rule: Rule | None, state: RuleState, episode: Episode) -> str | None:
    """Give the query that finds an alert's rows; None for one of a rule that is no more."""
    return None if rule is None else rows_query(rule, episode, state.last)


def _told_group(applied: Applied, state: Mapping[str, RuleState]) -> dict[str, Any]:
    group = applied.group
    rules = () if group is None else group.rules
    return {
        "name": applied.name,
        "interval": None if group is None else group.told.get("interval", "1m"),
        "rules": [_told_rule(rule, state.get(key_of(rule))) for rule in rules],
    }


def _told_rule(rule: Rule, state: RuleState | None) -> dict[str, Any]:
    return {
        **rule.told,
        "last_evaluation": None if state is None or state.last is None else _told_evaluation(state.last),
    }


def _told_evaluation(last: Evaluation) -> dict[str, Any]:
    return {
        "at": format_timestamp(last.slot_us),
        "arrived_from": format_timestamp(last.first_us),
        "arrived_until": format_timestamp(last.end_us),
        "complete": last.complete,
        "incomplete": list(last.incomplete),
        "notes": list(last.notes),
        "rows": last.rows,
        "events": last.events,
        "elapsed_ms": last.elapsed_ms,
    }


def _told_silence(silence: Silence, now_us: int) -> dict[str, Any]:
    return {
        "id": silence.id,
        "matchers": [{"name": one.name, "sign": one.sign, "value": one.value} for one in silence.matchers],
        "text": ", ".join(str(one) for one in silence.matchers),
        "starts_at": format_timestamp(silence.starts_us),
        "ends_at": format_timestamp(silence.ends_us),
        "active": silence.starts_us <= now_us < silence.ends_us,
        "comment": silence.comment,
        "created_by": silence.created_by,
    }


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else format_timestamp(at_us)


def route_alerts(app: FastAPI, api: AlertsApi) -> None:
    """Add the endpoints: rules for keys of scope admin, the others for those of scope search, too."""
    app.put("/v1/alerts/rules/{group}")(api.apply)
    app.get("/v1/alerts/rules/{group}")(api.rules)
    app.delete("/v1/alerts/rules/{group}")(api.remove)
    app.get("/v1/alerts/rules")(api.all_rules)
    app.post("/v1/alerts/check")(api.check)
    app.post("/v1/alerts/test")(api.test)
    app.get("/v1/alerts")(api.alerts)
    app.post("/v1/alerts/silences", status_code=201)(api.silence)
    app.get("/v1/alerts/silences")(api.silences)
    app.delete("/v1/alerts/silences/{silence_id}")(api.end_silence)
