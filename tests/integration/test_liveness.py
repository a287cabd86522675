"""Whether Ray's two servers answer, asked of a real Ray: they do, and not while they stand still."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.runtime.liveness import RayServers
from tests.rays import local_ray
from tests.waiting import until


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with local_ray(1):
        yield


def server(name: str) -> psutil.Process:
    (found,) = (child for child in psutil.Process().children(recursive=True) if child.name() == name)
    return found


@pytest.mark.parametrize(("name", "question"), [("gcs_server", "control_store"), ("raylet", "node_manager")])
async def test_a_server_that_stands_still_is_unavailable_until_it_goes_on(name: str, question: str) -> None:
    ask = getattr(RayServers(), question)
    await ask()
    stopped = server(name)
    stopped.suspend()
    try:
        await until(lambda: stopped.status() == psutil.STATUS_STOPPED, "it goes on")
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
            await ask()
    finally:
        stopped.resume()

    async def answers() -> bool:
        try:
            await ask()
        except Unavailable:
            return False
        return True

    await until(answers, "it does not answer again")
