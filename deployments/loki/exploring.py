"""What Grafana asks before, and beside, a query: labels, series, statistics, volumes, fields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from deployments.loki.asked import LABELS_RANGE_US, Asked
from deployments.loki.described import RANGE
from deployments.loki.reading import API, Reader, route
from deployments.loki.shapes import instant, json_of, matrix, success
from ess_ray.aside import aside
from ess_ray.language.logql import parse_selector
from ess_ray.language.logql import tree as t
from ess_ray.search.logql.fields import MAX_FIELD_LINES, DetectedField, detect
from ess_ray.search.logql.labels import Labels
from ess_ray.search.logql.logs import Lines, Wanted, find_lines
from ess_ray.search.logql.metrics import Metrics
from ess_ray.search.logql.overview import Overview, Told
from ess_ray.search.logql.series import Result, Steps

DEFAULT_LINES: Final = 1_000
"""Lines in which fields are looked for."""
MAX_FIELDS: Final = 5_000
_ANYTHING: Final = ("", "{}")


def _selector(text: str) -> t.LogQuery | None:
    """Read a selector; None for everything."""
    return None if text.replace(" ", "") in _ANYTHING else parse_selector(text)


@dataclass(frozen=True)
class Exploring:
    """The endpoints."""

    reader: Reader

    async def _overview(self, request: Request) -> tuple[Asked, Overview]:
        tenant, asked = await self.reader.tenant(request), await Asked.of(request)
        start_us, end_us = asked.range_us(LABELS_RANGE_US)
        return asked, Overview(self.reader.direct, tenant, self.reader.configured, start_us, end_us)

    async def labels(self, request: Request) -> Response:
        """Name the labels that there are."""
        asked, overview = await self._overview(request)
        told = await self.reader.answered(request, overview.label_names(_selector(asked.text("query"))))
        return success(told.value, told.incomplete)

    async def values(self, request: Request, name: str) -> Response:
        """Give the values of a label."""
        asked, overview = await self._overview(request)
        told = await self.reader.answered(request, overview.label_values(name, _selector(asked.text("query"))))
        return success(told.value, told.incomplete)

    async def series(self, request: Request) -> Response:
        """Give the labels of streams."""
        asked, overview = await self._overview(request)
        selectors = [_selector(text) for text in asked.texts("match[]", "match")]
        told = await self.reader.answered(request, overview.series(selectors or [None]))
        return success(told.value, told.incomplete)

    async def statistics(self, request: Request) -> Response:
        """Estimate how much a query would look at; asked at every keystroke."""
        asked, overview = await self._overview(request)
        told: Told = await self.reader.answered(request, overview.amounts(_selector(asked.text("query"))))
        return json_of(told.value, told.incomplete)

    # ------------------------------------------------------------------------------------------------------- volumes
    async def volume(self, request: Request) -> Response:
        """Give the bytes of lines by labels, over the whole range."""
        asked = await Asked.of(request)
        start_us, end_us = asked.range_us()
        steps = Steps(end_us - 1)
        found, missing = await self._volumes(request, asked, steps, max(1, end_us - start_us))
        return success({**instant(found, steps), "stats": {}}, missing)

    async def volume_range(self, request: Request) -> Response:
        """Give the bytes of lines by labels in each step."""
        asked = await Asked.of(request)
        steps = asked.steps()
        found, missing = await self._volumes(request, asked, steps, steps.step_us)
        assert not isinstance(found, float)
        return success({**matrix(found, steps), "stats": {}}, missing)

    async def _volumes(self, request: Request, asked: Asked, steps: Steps, range_us: int) -> tuple[Result, list[str]]:
        tenant = await self.reader.tenant(request)
        query = _selector(asked.text("query")) or t.LogQuery(())
        names = [name.strip() for name in asked.text("targetLabels").split(",") if name.strip()]
        names = names or list(dict.fromkeys(matcher.name for matcher in query.matchers)) or ["service_name"]
        by_label = asked.text("aggregateBy", "series") == "labels"
        if by_label and not asked.text("targetLabels"):
            names = list(Labels.of(self.reader.configured, query.matchers).by_name)
        metrics = Metrics(self.reader.direct, tenant, self.reader.configured, steps)
        most = asked.whole("limit", 100, MAX_FIELDS) or 1
        lines = t.RangeFunction("bytes_over_time", t.LogRange(query, range_us))

        async def work() -> Result:
            if not by_label:
                summed = t.VectorFunction("sum", lines, None, t.Grouping(tuple(names)))
                return _largest(await metrics.answer(summed), most)
            found: dict[Any, Any] = {}
            for name in names:
                there = t.LogQuery((*query.matchers, t.Matcher(name, "!=", "")), query.stages)
                total = t.VectorFunction("sum", t.RangeFunction("bytes_over_time", t.LogRange(there, range_us)))
                one = await metrics.answer(total)
                assert not isinstance(one, float)
                for points in one.values():
                    found[((name, ""),)] = points
            return _largest(found, most)

        return await self.reader.answered(request, work()), metrics.incomplete

    # -------------------------------------------------------------------------------------------------------- fields
    async def detected_labels(self, request: Request) -> Response:
        """Count the values of each label."""
        asked, overview = await self._overview(request)
        told = await self.reader.answered(request, overview.cardinalities(_selector(asked.text("query"))))
        found = [{"label": name, "cardinality": count} for name, count in told.value.items()]
        return json_of({"detectedLabels": found}, told.incomplete)

    async def detected_fields(self, request: Request) -> Response:
        """Name the fields of the newest lines: metadata, and what their JSON or logfmt has."""
        asked, lines = await self._newest(request)
        most = self._most(asked)
        found = await aside(detect, lines.entries)
        told = [_field_json(one) for one in list(found.values())[:most]]
        return json_of({"fields": told, "limit": most}, lines.incomplete)

    async def field_values(self, request: Request, name: str) -> Response:
        """Give the values that a field has in the newest lines."""
        asked, lines = await self._newest(request)
        most = self._most(asked)
        found = (await aside(detect, lines.entries)).get(name)
        values: Iterable[str] = () if found is None else found.values
        return json_of({"values": sorted(values)[:most], "limit": most}, lines.incomplete)

    @staticmethod
    def _most(asked: Asked) -> int:
        return asked.whole("limit", asked.whole("field_limit", DEFAULT_LINES, MAX_FIELDS), MAX_FIELDS) or DEFAULT_LINES

    async def _newest(self, request: Request) -> tuple[Asked, Lines]:
        tenant, asked = await self.reader.tenant(request), await Asked.of(request)
        query = _selector(asked.text("query")) or t.LogQuery(())
        count = asked.whole("line_limit", DEFAULT_LINES, MAX_FIELD_LINES)
        wanted = Wanted(*asked.range_us(), count, "newest")
        work = find_lines(self.reader.direct, tenant, query, wanted, configured=self.reader.configured)
        return asked, await self.reader.answered(request, work)

    async def patterns(self, request: Request) -> Response:
        """Give the patterns of lines, counted over the range in steps of their own: `step` is not looked at."""
        asked, overview = await self._overview(request)
        told = await self.reader.answered(request, overview.patterns(_selector(asked.text("query"))))
        found = [{"pattern": one.pattern, "samples": one.samples} for one in told.value]
        return success(found, told.incomplete)


def _largest(found: Result, most: int) -> Result:
    assert not isinstance(found, float)
    ranked = sorted(found.items(), key=lambda item: -float(item[1].values[item[1].there].sum()))
    return dict(ranked[:most])


def _field_json(found: DetectedField) -> Mapping[str, Any]:
    told: dict[str, Any] = {"label": found.name, "type": found.kind, "cardinality": len(found.values)}
    told["parsers"] = None if found.parser is None else [found.parser]
    return {**told, "jsonPath": list(found.path)} if found.path else told


def route_exploring(app: FastAPI, exploring: Exploring) -> None:
    """Add the endpoints."""
    queried, volumes = ("query", *RANGE), ("targetLabels", "aggregateBy", "limit")
    fields = (*queried, "limit", "line_limit")
    paths: dict[str, tuple[Callable[..., Awaitable[Response]], tuple[str, ...]]] = {
        "labels": (exploring.labels, queried),
        "label": (exploring.labels, queried),
        "label/{name}/values": (exploring.values, queried),
        "series": (exploring.series, ("match[]", *RANGE)),
        "index/stats": (exploring.statistics, queried),
        "index/volume": (exploring.volume, (*queried, *volumes)),
        "index/volume_range": (exploring.volume_range, (*queried, "step", *volumes)),
        "detected_labels": (exploring.detected_labels, queried),
        "detected_fields": (exploring.detected_fields, fields),
        "detected_field/{name}/values": (exploring.field_values, fields),
        "patterns": (exploring.patterns, ()),
    }
    for path, (answer, asked) in paths.items():
        route(app, f"{API}/{path}", answer, asked)
