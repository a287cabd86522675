"""A Lambda function as a ScanFunction: one Invoke request each, what AWS answers to it, and what it is billed for.

Through boto3, with its retries off: whether to ask again is decided by who counts (`search.invocations`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ess_ray.core.errors import BadRequest, EssError, Forbidden, NotFound, TooFast, TooLarge, Unavailable
from ess_ray.limits import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT_S
from ess_ray.ports import Invoked, ObjectStore, ScanTask
from ess_ray.search.wire import MAX_PAYLOAD_BYTES, decode_result, encode_task

if TYPE_CHECKING:  # its library takes a fifth of a second to import, in each process
    from ess_ray.settings import Settings

CONNECT_TIMEOUT_S: Final = 5.0
READ_MARGIN_S: Final = 30.0
"""Beyond the function's own time limit: a cold start comes before it (AWS allows 10 s), the answer after it."""
_REPORT: Final = re.compile(rb"Billed Duration: (\d+) ms\s+Memory Size: (\d+) MB")
"""Of the last line that Lambda logs of an invocation: what the bill is made of."""
_THROTTLED: Final = frozenset({"TooManyRequestsException", "EC2ThrottledException", "ThrottlingException"})
_REFUSED: Final = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"}
    | {"MissingAuthenticationTokenException", "AccessDenied"}
)
_MAX_TOLD: Final = 500
"""Characters of an error of the function: what follows is its stack."""


@dataclass(frozen=True)
class FunctionLocation:
    """Which function, and how its service is reached. Can be pickled; `repr` hides secrets.

    `name`: a name or an ARN. `endpoint` None is AWS itself; without keys the client looks where AWS's clients do.
    `timeout_s` and `memory_mb` as the function was deployed with.
    """

    name: str
    region: str
    _: KW_ONLY
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    timeout_s: float = FUNCTION_TIMEOUT_S
    memory_mb: int = FUNCTION_MEMORY_MB

    @property
    def memory_gb(self) -> float:
        """What a second of it is billed for."""
        return self.memory_mb / 1024

    def client(self, connections: int) -> Any:
        """Give a boto3 client with so many connections (import and all: a third of a second)."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "lambda",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=self.timeout_s + READ_MARGIN_S,
                retries={"total_max_attempts": 1},
                max_pool_connections=connections,
                tcp_keepalive=True,
            ),
        )


def function_of(settings: Settings) -> FunctionLocation | None:
    """Read from the settings which function scans; None where none is deployed."""
    told = settings.lambda_
    if not told.function:
        return None
    return FunctionLocation(
        told.function,
        told.region,
        endpoint=told.endpoint,
        access_key=None if told.access_key is None else told.access_key.get_secret_value(),
        secret_key=None if told.secret_key is None else told.secret_key.get_secret_value(),
        timeout_s=told.timeout_s,
        memory_mb=told.memory_mb,
    )


class LambdaFunction:
    """ScanFunction over boto3's client. Each invocation waits in a thread of its own, which ends with the process.

    `answers`: where the function puts what is too large to hand over.
    """

    def __init__(self, location: FunctionLocation, answers: ObjectStore, connections: int) -> None:
        self._at, self._answers, self._connections = location, answers, connections
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def memory_gb(self) -> float:
        """See the port."""
        return self._at.memory_gb

    def start(self, task: ScanTask) -> Future[Invoked]:
        """See the port."""
        future: Future[Invoked] = Future()
        future.set_running_or_notify_cancel()
        # Not a pool: its threads would be waited for when the process ends, for as long as an invocation may take.
        threading.Thread(target=_settle, args=(future, lambda: self._invoke(task)), daemon=True).start()
        return future

    def close(self) -> None:
        """Close the connections. Idempotent; invocations under way are lost to this process."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _invoke(self, task: ScanTask) -> Invoked:
        payload = json.dumps(encode_task(task), separators=(",", ":")).encode()
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise TooLarge(
                f"a scan task of {len(task.entries)} objects takes {len(payload)} bytes, Lambda takes "
                f"{MAX_PAYLOAD_BYTES}: lower lambda.task_bytes"
            )
        started_s = time.monotonic()
        answer, body = self._request(payload)
        gb_seconds = self._billed(answer.get("LogResult", ""), time.monotonic() - started_s)
        value = _json(body)
        if "FunctionError" in answer:
            raise self._failure(value, gb_seconds)
        return Invoked(decode_result(value, self._answers, task.collector), gb_seconds)

    def _request(self, payload: bytes) -> tuple[dict[str, Any], bytes]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        with self._lock:  # making a client is not safe in several threads, using one is
            if self._client is None:
                self._client = self._at.client(self._connections)
            client = self._client
        try:
            answer = client.invoke(FunctionName=self._at.name, LogType="Tail", Payload=payload)
            return answer, answer["Payload"].read()
        except ClientError as error:
            raise self._refusal(error) from error
        except NoCredentialsError as error:
            raise Forbidden(
                f"there are no credentials for Lambda: {error}; set AWS_ variables or give a role"
            ) from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(f"the answer of the Lambda function {self._at.name} did not arrive: {error}") from error

    def _refusal(self, error: Any) -> EssError:
        """Give the meaning of a request that Lambda did not take."""
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        name = self._at.name
        if code in _THROTTLED or status == 429:
            return TooFast(f"Lambda runs as many invocations of {name} as it may: {error}")
        if code == "ResourceNotFoundException":
            return NotFound(
                f"there is no Lambda function {name} in {self._at.region}: deploy it, or set lambda.function"
            )
        if code in _REFUSED or status in (401, 403):
            return Forbidden(f"Lambda refuses these credentials: {error}; they need lambda:InvokeFunction on {name}")
        if status >= 500:
            return Unavailable(f"Lambda could not run {name} just now: {error}")
        return BadRequest(f"Lambda does not take an invocation of {name}: {error}")

    def _failure(self, value: Any, gb_seconds: float) -> EssError:
        """Give the meaning of an invocation that ended with an error of the function."""
        told = value if isinstance(value, dict) else {}
        kind, message = str(told.get("errorType", "")), str(told.get("errorMessage", ""))[:_MAX_TOLD]
        if kind == "BadRequest":
            return BadRequest(message, gb_seconds=gb_seconds)
        if kind.startswith("Runtime.ImportModule") or kind == "Runtime.HandlerNotFound":
            return BadRequest(
                f"the Lambda function {self._at.name} cannot start: {message}; deploy the package that "
                "`ess lambda package` makes, for the architecture that it is made for",
                gb_seconds=gb_seconds,
            )
        return Unavailable(
            f"an invocation of {self._at.name} was lost: {kind} {message}".strip(), gb_seconds=gb_seconds
        )

    def _billed(self, log_tail: str, elapsed_s: float) -> float:
        """Read what is billed from the end of the invocation's log; without it by the time that it took, rounded up."""
        try:
            found = _REPORT.findall(base64.b64decode(log_tail))
        except binascii.Error:
            found = []
        if not found:
            return elapsed_s * self.memory_gb
        billed_ms, memory_mb = map(int, found[-1])
        return billed_ms / 1000 * memory_mb / 1024


def _settle(future: Future[Invoked], invoke: Callable[[], Invoked]) -> None:
    try:
        future.set_result(invoke())
    except BaseException as error:  # noqa: BLE001 (it is raised where the future is looked at)
        future.set_exception(error)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
