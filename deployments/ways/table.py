"""All ways in over HTTP: a line each."""

from __future__ import annotations

from deployments.ways.datadog import DATADOG_LOGS
from deployments.ways.elastic import elastic
from deployments.ways.events import EVENTS
from deployments.ways.gelf import GELF
from deployments.ways.hec import HEC
from deployments.ways.journald import JOURNALD
from deployments.ways.loki import LOKI
from deployments.ways.otlp import OTLP
from deployments.ways.way import Ways
from ess_ray.intake.formats.elastic_handshake import VERSION


def ways(elastic_version: str = VERSION) -> Ways:
    """Give the table, for a server that tells Elasticsearch's clients this version."""
    return Ways((EVENTS, OTLP, elastic(elastic_version), LOKI, HEC, DATADOG_LOGS, JOURNALD, GELF))
