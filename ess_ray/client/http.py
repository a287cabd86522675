"""HTTP to one system: requests, retries, problem documents as errors. What the `ess` command and programs share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import tenacity

from ess_ray.core.errors import (
    BadRequest,
    EssError,
    Forbidden,
    Gone,
    KeyConflict,
    NotFound,
    TooFast,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
"""A flush of full buffers takes tens of seconds; a connection on one machine takes none."""
UNHURRIED: Final = httpx.Timeout(None, connect=5.0)
"""For a body that may be silent for as long as rare hits take to be found."""
RETRY_FOR_S: Final = 60.0
"""Twice what a restart of a system takes: after that, a person should look."""
RETRY_PAGE_S: Final = 15.0
"""How long a page is asked for again. Where answers are shared any other search replica gives it, and the only one is
replaced by then; an answer that lay in its replica's memory is gone with it, and the next one says so at once."""
MAX_RETRY_AFTER_S: Final = 30.0
"""A longer Retry-After would outlast our own patience."""
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
"""500 too: Serve answers its own 502, 503 and 504 as 500. With a key per batch each repeat is exact."""
_ERRORS: Final[dict[int, type[EssError]]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    410: Gone,
    413: TooLarge,
    415: Unsupported,
    422: KeyConflict,
    429: TooFast,
    503: Unavailable,
}


def options_of(url: str, key: str | None) -> dict[str, Any]:
    """Give what an httpx client is made with. Raises BadRequest for an address that is none."""
    # No environment: a proxy meant for the outer world must not see what goes to this machine.
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "timeout": TIMEOUT, "trust_env": False, "headers": headers}


class Http:
    """HTTP to one system, usable from many threads. Errors are EssErrors; retries only where it is asked for."""

    def __init__(
        self, url: str, key: str | None = None, *, known_by: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        """`known_by`: where the address comes from, for errors."""
        self._url, self._known_by = url, known_by
        self._http = httpx.Client(**options_of(url, key), transport=transport)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go. Idempotent."""
        self._http.close()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request and give its JSON. Raises the EssError of the answer's status, Unavailable without one."""
        return json_of(self.send(method, path, **arguments))

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send one request and give its answer, whatever it is. Raises Unavailable without one."""
        with reached(self._url, self._known_by):
            return self._http.request(method, path, **arguments)

    @contextmanager
    def download(self, path: str, **arguments: Any) -> Iterator[Iterator[bytes]]:
        """Get a body as it comes, however long that takes. Raises the EssError of the answer's status, Unavailable when
        there is none, and also in the midst of a body that ends before it is whole."""
        with (
            reached(self._url, self._known_by),
            self._http.stream("GET", path, timeout=UNHURRIED, **arguments) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise problem_of(answer)
            yield answer.iter_bytes()

    def call_patiently(
        self,
        method: str,
        path: str,
        *,
        stop: threading.Event | None = None,
        for_s: float = RETRY_FOR_S,
        on_retry: Callable[[], None] = lambda: None,
        **arguments: Any,
    ) -> Any:
        """Send again on 429, 5xx and lost connections, as Retry-After says or backing off, up to `for_s` seconds.

        Only for requests that may be repeated. `stop` ends the trying early when it is set; `on_retry` is called before
        each other attempt than the first.
        """
        return json_of(self.send_patiently(method, path, stop=stop, for_s=for_s, on_retry=on_retry, **arguments))

    def send_patiently(
        self,
        method: str,
        path: str,
        *,
        stop: threading.Event | None = None,
        for_s: float = RETRY_PAGE_S,
        on_retry: Callable[[], None] = lambda: None,
        **arguments: Any,
    ) -> httpx.Response:
        """Do the same, and give the answer itself, whatever the last one was."""
        stop = stop if stop is not None else threading.Event()
        retrying = tenacity.Retrying(
            **_retrying(on_retry),
            stop=tenacity.stop_after_delay(for_s) | tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
        )
        answer: httpx.Response = retrying(self.send, method, path, **arguments)
        return answer

    @contextmanager
    def stream(self, path: str, **arguments: Any) -> Iterator[Iterator[str]]:
        """GET, and give the answer's lines as they come, cut at newlines alone: JSON may hold what else ends a line.

        Raises the EssError of the answer's status, Unavailable when it breaks.
        """
        with reached(self._url, self._known_by), self._http.stream("GET", path, **arguments) as answer:
            if not answer.is_success:
                answer.read()
                raise problem_of(answer)
            yield _lines(answer.iter_text())


class AsyncHttp:
    """The same on an event loop."""

    def __init__(
        self, url: str, key: str | None = None, *, known_by: str = "", transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url, self._known_by = url, known_by
        self.http = httpx.AsyncClient(**options_of(url, key), transport=transport)

    async def close(self) -> None:
        """Let the connections go. Idempotent."""
        await self.http.aclose()

    def reached(self) -> Any:
        """Turn a connection that cannot be had, or breaks, into Unavailable."""
        return reached(self._url, self._known_by)

    async def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """See `Http`."""
        with self.reached():
            return await self.http.request(method, path, **arguments)

    async def send_patiently(
        self, method: str, path: str, *, for_s: float = RETRY_PAGE_S, **arguments: Any
    ) -> httpx.Response:
        """See `Http`."""
        retrying = tenacity.AsyncRetrying(**_retrying(lambda: None), stop=tenacity.stop_after_delay(for_s))
        answer: httpx.Response = await retrying(self.send, method, path, **arguments)
        return answer


@contextmanager
def reached(url: str, known_by: str) -> Iterator[None]:
    """Turn a connection that cannot be had, or breaks, into Unavailable."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise BadRequest(f"{url} is no address: {error}") from error
    except httpx.LocalProtocolError:
        # Its text is what was to be sent, maybe a key: it is told to nobody.
        raise BadRequest("the request cannot be sent: a header of it is none, such as one made of ESS_KEY") from None
    except httpx.RemoteProtocolError as error:
        raise Unavailable(f"{url} broke its answer off: {error}; the server's log says why") from error
    except httpx.TransportError as error:
        source = f" (from {known_by})" if known_by else ""
        raise Unavailable(
            f"nothing answers at {url}{source}: {error or type(error).__name__}. Is the system up? See `ess doctor`"
        ) from error


def _lines(parts: Iterable[str]) -> Iterator[str]:
    rest: list[str] = []
    for part in parts:
        *whole, last = part.split("\n")
        if whole:
            yield "".join([*rest, whole[0]])
            yield from whole[1:]
            rest = []
        rest.append(last)


_backing_off: Final = tenacity.wait_random_exponential(multiplier=0.1, max=5.0)


def _retrying(on_retry: Callable[[], None]) -> dict[str, Any]:
    return {
        "retry": tenacity.retry_if_result(lambda answer: answer.status_code in _RETRIED)
        | tenacity.retry_if_exception_type(Unavailable),
        "wait": _wait,
        "before_sleep": lambda _: on_retry(),
        "retry_error_callback": _last,
    }


def _wait(state: tenacity.RetryCallState) -> float:
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        told = outcome.result().headers.get("Retry-After", "")
        if told.isascii() and told.isdigit():  # the other form, a date, is for caches
            return min(float(told), MAX_RETRY_AFTER_S)
    return _backing_off(state)


def _last(state: tenacity.RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()  # raises what was raised last


def json_of(answer: httpx.Response) -> Any:
    """Give the JSON of an answer. Raises the EssError of its status."""
    if answer.is_success:
        try:
            return answer.json()
        except ValueError as error:
            raise EssError(f"{answer.request.url} answered something else than JSON: is this an ess_ray?") from error
    raise problem_of(answer)


def problem_of(answer: httpx.Response) -> EssError:
    """Turn a refusal into the error it stands for: `detail` as message, all other members as details."""
    try:
        document = answer.json()
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    message = str(document.pop("detail", "") or f"{answer.request.url} answered {answer.status_code}")
    details = {name: value for name, value in document.items() if name.isidentifier() and name != "message"}
    kind = _ERRORS.get(answer.status_code, EssError)
    return kind(message, **details)
