"""The receiver of alerts that keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable

from ess_ray.ports import Bundle, Notice


class HeardReceiver:
    """A Receiver that keeps what it is told; `on_send` is called before and after, and what it raises is raised."""

    def __init__(
        self, name: str = "pager", on_send: Callable[[str], None] = lambda _: None, repeat_s: float | None = None
    ) -> None:
        self.name, self.on_send, self.repeat_s = name, on_send, repeat_s
        self.heard: list[Notice] = []
        self.bundles: list[Bundle] = []

    async def send(self, bundle: Bundle) -> None:
        self.on_send("before")
        self.heard += bundle.notices
        self.bundles.append(bundle)
        self.on_send("after")

    @property
    def told(self) -> list[tuple[str, str]]:
        """(alert, status) of each notice."""
        return [(one.labels["alertname"], one.status) for one in self.heard]
