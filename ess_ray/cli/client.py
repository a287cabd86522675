"""Talking to a running system: where it is, its HTTP answers, and what its refusals mean for the exit code.

May live here: addresses, requests, retries, problem documents as errors. May not: what commands do or print.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import tenacity

from ess_ray.core.errors import (
    BadRequest,
    EssError,
    Forbidden,
    KeyConflict,
    NotFound,
    TooFast,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from ess_ray.runtime.processes import RUN_FILE, read_end, read_run_file
from ess_ray.settings import Settings

TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
"""A flush of full buffers takes tens of seconds; a connection on one machine takes none."""
UNHURRIED: Final = httpx.Timeout(None, connect=5.0)
"""For a body that may be silent for as long as rare hits take to be found."""
RETRY_FOR_S: Final = 60.0
"""Twice what a restart of a system takes: after that, a person should look."""
MAX_RETRY_AFTER_S: Final = 30.0
"""A longer Retry-After would outlast our own patience."""
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
"""500 too: Serve answers its own 502, 503 and 504 as 500. With a key per batch each repeat is exact."""
_ERRORS: Final[dict[int, type[EssError]]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    415: Unsupported,
    422: KeyConflict,
    429: TooFast,
    503: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where the system of a command is: its data directory (maybe of another machine) and its address."""

    settings: Settings
    url: str
    known_by: str
    """Where the address comes from, for errors."""
    arguments: tuple[str, ...] = ()
    """The options that lead here again, for commands that we print."""

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir


def locate(settings: Settings, data_dir: Path | None, url: str | None) -> Target:
    """Find the address: `--url`, then the run file of `--data-dir`, then ESS_URL or ess.yaml, then ESS_DATA_DIR.

    `data_dir` and `url` are what the command line gave. A data directory that was named but where nothing was started
    raises Unavailable: never is another system taken instead.
    """
    given = ("--data-dir", str(data_dir)) if data_dir is not None else ()
    if url is not None:
        return Target(settings, settings.url, "--url", (*given, "--url", settings.url))
    if data_dir is None and "url" in settings.model_fields_set:
        return Target(settings, settings.url, "ESS_URL or the settings file")
    run = read_run_file(settings.data_dir)
    if run is not None:
        return Target(settings, run.url, str(settings.data_dir / RUN_FILE), given)
    if "data_dir" in settings.model_fields_set:
        raise Unavailable(
            f"{read_end(settings.data_dir) or f'no system has been started in {settings.data_dir}'}: start it with "
            f"`ess up --data-dir {settings.data_dir}`, or say where one is with --url"
        )
    return Target(settings, settings.url, "the default")


class Client:
    """HTTP to one system, usable from many threads. Errors are EssErrors; retries only where it is asked for."""

    def __init__(self, target: Target, transport: httpx.BaseTransport | None = None) -> None:
        self._target = target
        # No environment: a proxy meant for the outer world must not see what goes to this machine.
        key = target.settings.key
        headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
        self._http = httpx.Client(
            base_url=target.url, timeout=TIMEOUT, trust_env=False, transport=transport, headers=headers
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request and give its JSON. Raises the EssError of the answer's status, Unavailable without one."""
        return _json(self._send(method, path, **arguments))

    @contextmanager
    def download(self, path: str, **arguments: Any) -> Iterator[Iterator[bytes]]:
        """Get a body as it comes, however long that takes. Raises the EssError of the answer's status, Unavailable when
        there is none, and also in the midst of a body that ends before it is whole."""
        with self._reached(), self._http.stream("GET", path, timeout=UNHURRIED, **arguments) as answer:
            if not answer.is_success:
                answer.read()
                raise problem_of(answer)
            yield answer.iter_bytes()

    def call_patiently(
        self,
        method: str,
        path: str,
        *,
        stop: threading.Event,
        for_s: float = RETRY_FOR_S,
        on_retry: Callable[[], None] = lambda: None,
        **arguments: Any,
    ) -> Any:
        """Send again on 429, 5xx and lost connections, as Retry-After says or backing off, up to `for_s` seconds.

        Only for requests that may be repeated. `stop` ends the trying early when it is set; `on_retry` is called before
        each other attempt than the first.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda answer: answer.status_code in _RETRIED)
            | tenacity.retry_if_exception_type(Unavailable),
            wait=_wait,
            stop=tenacity.stop_after_delay(for_s) | tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=lambda _: on_retry(),
            retry_error_callback=_last,
        )
        return _json(retrying(self._send, method, path, **arguments))

    @contextmanager
    def stream(self, path: str, **arguments: Any) -> Iterator[Iterator[str]]:
        """GET, and give the answer's lines as they come, cut at newlines alone: JSON may hold what else ends a line.

        Raises the EssError of the answer's status, Unavailable when it breaks.
        """
        with self._reached(), self._http.stream("GET", path, **arguments) as answer:
            if not answer.is_success:
                answer.read()
                raise problem_of(answer)
            yield _lines(answer.iter_text())

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn a connection that cannot be had, or breaks, into Unavailable."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise BadRequest(f"{self._target.url} is no address: {error}") from error
        except httpx.LocalProtocolError:
            # Its text is what was to be sent, maybe a key: it is told to nobody.
            raise BadRequest(
                "the request cannot be sent: a header of it is none, such as one made of ESS_KEY"
            ) from None
        except httpx.RemoteProtocolError as error:
            raise Unavailable(f"{self._target.url} broke its answer off: {error}; the server's log says why") from error
        except httpx.TransportError as error:
            raise Unavailable(
                f"nothing answers at {self._target.url} (from {self._target.known_by}): "
                f"{error or type(error).__name__}. Is the system up? See `ess doctor`"
            ) from error

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with self._reached():
            return self._http.request(method, path, **arguments)


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


def _json(answer: httpx.Response) -> Any:
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
