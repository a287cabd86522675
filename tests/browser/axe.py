"""axe-core on a page: what it finds wrong for people who cannot see, or not well, or use no mouse."""

from __future__ import annotations

from typing import Any, Final

from playwright.sync_api import Page

from deployments.ui import DIST

PROGRAM: Final = DIST.parent / "node_modules" / "axe-core" / "axe.min.js"
GRAVE: Final = ("serious", "critical")


def grave_violations(page: Page) -> list[str]:
    """Name each serious or critical violation, with the elements that it concerns."""
    # Evaluated, not added as an element: the page's policy lets no script in that it did not serve.
    page.evaluate(PROGRAM.read_text())
    answer: dict[str, Any] = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{found['id']} ({found['impact']}): {found['help']}: {[node['target'] for node in found['nodes']]}"
        for found in answer["violations"]
        if found["impact"] in GRAVE
    ]
