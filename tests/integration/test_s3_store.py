"""The object store on a real S3 server: what each call costs in requests, and what happens when the network breaks."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.adapters import s3_location, s3_store
from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from ess_ray.adapters.s3_store import S3ObjectStore
from ess_ray.core.errors import BadRequest, CorruptData, Unavailable
from tests.proxy import Fault, Proxy
from tests.servers import READER, S3Server, free_ports

SECOND_US = 1_000_000


# ----------------------------------------------------------------------------------------------------------- requests
def test_each_call_is_one_request_and_no_read_looks_before(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    store.put("k", b"0123456789")
    assert store.get_range("k", 2, 3) == b"234"
    assert store.get_suffix("k", 4) == b"6789"
    assert store.get("k")[0] == b"0123456789"
    store.list("")
    store.head("k")
    seen = [(each.method, each.range) for each in s3_proxy.requests()]
    assert seen == [("PUT", ""), ("GET", "bytes=2-4"), ("GET", "bytes=-4"), ("GET", ""), ("GET", ""), ("HEAD", "")]


def test_a_large_object_goes_in_parts(store: S3ObjectStore, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "MULTIPART_BYTES", 6 * 1024 * 1024)
    monkeypatch.setattr(s3_store, "PART_BYTES", 5 * 1024 * 1024)
    data = os.urandom(7 * 1024 * 1024)
    store.put("k", data[: 6 * 1024 * 1024])
    assert len(s3_proxy.requests()) == 1
    store.put("k", pa.py_buffer(data))
    assert len(s3_proxy.requests("PUT", containing="partNumber")) == 2
    assert store.get_range("k", 0, len(data)) == data


def test_a_list_of_many_pages_is_whole(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    names = [f"tenant=a/{number:04d}" for number in range(1_050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b""), names))
    s3_proxy.forget()
    assert [info.key for info in store.list("tenant=")] == names
    assert [info.key for info in store.list("tenant=a/000")] == names[:10]
    assert len(s3_proxy.requests()) == 4


def test_an_object_is_created_once(store: S3ObjectStore) -> None:
    assert store.create("k", b"first")
    assert not store.create("k", b"second")
    assert store.get("k")[0] == b"first"


# -------------------------------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize("fault", ["503", "reset", "cut", "drop"])
def test_what_breaks_once_is_asked_again(store: S3ObjectStore, s3_proxy: Proxy, fault: Fault) -> None:
    store.put("k", b"0123456789")
    s3_proxy.forget()
    s3_proxy.order(fault)
    assert store.get_range("k", 0, 10) == b"0123456789"
    s3_proxy.order(fault)
    assert store.get_suffix("k", 8) == b"23456789"
    assert [each.fault for each in s3_proxy.requests()] == [fault, None, fault, None]


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "drop"])
def test_a_stream_that_breaks_once_is_taken_up(store: S3ObjectStore, s3_proxy: Proxy, fault: Fault) -> None:
    data = os.urandom(5_000_000)
    store.put("k", data)
    s3_proxy.forget()
    s3_proxy.order(fault)
    assert b"".join(store.stream_range("k", 1_000, len(data))) == data[1_000:]
    assert [each.fault for each in s3_proxy.requests()] == [fault, None]


@pytest.fixture
def giving_up(s3_location: S3Location, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> S3ObjectStore:
    """A store whose client takes nothing up by itself."""
    monkeypatch.setattr("ess_ray.adapters.s3_location.MAX_RETRIES", 0)
    return replace(s3_location, endpoint=s3_proxy.endpoint).open()


def test_a_stream_that_the_client_gives_up_is_asked_for_anew(giving_up: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(20_000_000)
    giving_up.put("k", data)
    s3_proxy.forget()
    s3_proxy.order("end", times=3)
    assert b"".join(giving_up.stream_range("k", 0, len(data))) == data
    starts = [int(each.range.removeprefix("bytes=").partition("-")[0]) for each in s3_proxy.requests()]
    assert len(starts) == 4
    assert starts == sorted(set(starts)), "each goes on where the one before it broke"


def test_a_stream_is_not_asked_for_anew_for_ever(
    giving_up: S3ObjectStore, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_store, "MAX_RESUMED", 2)
    giving_up.put("k", os.urandom(20_000_000))
    s3_proxy.forget()
    s3_proxy.order("end", times=1_000)
    with pytest.raises(Unavailable):
        list(giving_up.stream_range("k", 0, 20_000_000))
    assert len(s3_proxy.requests()) == 3
    s3_proxy.forget()
    s3_proxy.order("reset", times=1_000)
    with pytest.raises(Unavailable):
        list(giving_up.stream_range("k", 0, 20_000_000))
    assert len(s3_proxy.requests()) == 1, "what brought nothing is not asked for anew"


@pytest.mark.parametrize("fault", ["503", "reset", "drop"])
def test_a_put_that_breaks_once_is_put_again(store: S3ObjectStore, s3_proxy: Proxy, fault: Fault) -> None:
    s3_proxy.order(fault, method="PUT")
    store.put("k", b"0123456789")
    assert store.get("k")[0] == b"0123456789"
    assert len(s3_proxy.requests("PUT")) == 2


def test_what_stays_broken_is_unavailable_after_so_many_tries(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    s3_proxy.order("503", times=1_000)
    with pytest.raises(Unavailable, match="503") as told:
        store.get_range("k", 0, 10)
    assert told.value.retryable
    assert "Debug source" not in str(told.value)
    assert len(s3_proxy.requests()) == s3_location.MAX_RETRIES + 1


def test_an_endpoint_where_nobody_listens_is_unavailable(
    s3_location: S3Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ess_ray.adapters.s3_location.MAX_RETRIES", 1)
    nobody = replace(s3_location, endpoint=f"http://127.0.0.1:{free_ports(1)[0]}")
    for call in (lambda: nobody.open().put("k", b""), lambda: nobody.open().head("k"), lambda: nobody.open().now_us()):
        with pytest.raises(Unavailable, match="endpoint"):
            call()


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.get_range("k", 0, 10),
        lambda store: store.get_suffix("k", 10),
        lambda store: b"".join(store.stream_range("k", 0, 10)),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_corrupt(
    store: S3ObjectStore, s3_proxy: Proxy, read: Callable[[S3ObjectStore], bytes]
) -> None:
    store.put("k", b"0123456789")
    s3_proxy.order("short", method="GET")
    with pytest.raises(CorruptData, match="k"):
        read(store)


# -------------------------------------------------------------------------------------------------------------- rights
def test_a_wrong_secret_is_refused_and_never_told(s3_location: S3Location) -> None:
    wrong = replace(s3_location, secret_key="not-the-secret")
    calls: list[Callable[[], Any]] = [
        lambda: wrong.open().get_range("k", 0, 1),
        lambda: wrong.open().head("k"),
        lambda: wrong.open().put("k", b""),
        lambda: wrong.open().list(""),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match="ess-admin: check the keys") as told:
            call()
        assert "not-the-secret" not in str(told.value)
    assert "not-the-secret" not in repr(wrong)
    with pytest.raises(Unavailable, match="cannot make the bucket"):
        make_bucket(replace(wrong, bucket="another-bucket"))


def test_keys_without_the_right_to_write(s3_location: S3Location) -> None:
    s3_location.open().put("k", b"x")
    reader = replace(s3_location, access_key=READER.access_key, secret_key=READER.secret_key).open()
    assert reader.get_range("k", 0, 1) == b"x"
    for call in (lambda: reader.put("k", b"y"), lambda: reader.delete("k")):
        with pytest.raises(Unavailable, match="check the keys"):
            call()
    assert s3_location.open().get("k")[0] == b"x"


def test_keys_come_from_the_environment(s3_location: S3Location, monkeypatch: pytest.MonkeyPatch) -> None:
    assert s3_location.access_key is not None
    assert s3_location.secret_key is not None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_location.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_location.secret_key)
    bare = replace(s3_location, access_key=None, secret_key=None)
    bare.open().put("k", b"x")
    assert s3_location.open().get("k")[0] == b"x"
    assert "AWS_SECRET_ACCESS_KEY" not in bare.storage_options()


def test_a_missing_bucket_is_not_a_missing_object(s3_location: S3Location) -> None:
    elsewhere = replace(s3_location, bucket="no-such-bucket").open()
    for call in (lambda: elsewhere.get_range("k", 0, 1), lambda: elsewhere.list(""), lambda: elsewhere.put("k", b"")):
        with pytest.raises(Unavailable, match="bucket"):
            call()


# ------------------------------------------------------------------------------------------------ the place, the clock
def test_a_bucket_is_made_once_and_clears_unfinished_uploads(s3: S3Server, s3_bucket: S3Location) -> None:
    place = replace(s3_bucket, bucket="made-by-a-test")
    assert make_bucket(place)
    assert not make_bucket(place)
    client = place.boto3_client()
    rules = client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    client.close()
    assert [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules] == [1]


def test_place_and_store_travel_to_other_processes(s3_location: S3Location) -> None:
    s3_location.open().put("k", b"x")
    assert pickle.loads(pickle.dumps(s3_location)) == s3_location
    assert pickle.loads(pickle.dumps(s3_location.open())).get("k")[0] == b"x"


def test_a_process_that_used_the_store_ends_well(s3_location: S3Location, s3_proxy: Proxy) -> None:
    """A client library once aborted at the interpreter's exit."""
    program = (
        "import pickle, sys, threading\n"
        "store = pickle.load(sys.stdin.buffer).open()\n"
        "store.put('k', b'x')\n"
        "threads = [threading.Thread(target=store.get_range, args=('k', 0, 1)) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
    )
    place = pickle.dumps(replace(s3_location, endpoint=s3_proxy.endpoint))
    done = subprocess.run([sys.executable, "-c", program], input=place, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(s3_proxy.requests("GET")) == 8


def test_the_clock_is_the_servers_and_seldom_asked(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    store.put("k", b"x")
    found = store.head("k")
    assert found is not None
    s3_proxy.forget()
    times = [store.now_us() for _ in range(1_000)]
    assert times == sorted(times)
    assert len(s3_proxy.requests()) == 1
    assert found.modified_us - 2 * SECOND_US <= times[0]


def test_a_clock_asked_again_goes_on(store: S3ObjectStore, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "CLOCK_MAX_AGE_S", 0.0)
    times = [store.now_us() for _ in range(5)]
    assert times == sorted(times)
    assert len(s3_proxy.requests()) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"bucket": "ab"},
        {"bucket": "With-Capitals"},
        {"bucket": "a/b"},
        {"prefix": "/a"},
        {"prefix": "a/"},
        {"prefix": "a/../b"},
        {"endpoint": "127.0.0.1:9000"},
        {"endpoint": "http://key:secret@127.0.0.1:9000"},
        {"secret_key": None},
    ],
)
def test_places_that_cannot_be_are_refused(s3_location: S3Location, changes: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        replace(s3_location, **changes)


def test_the_bucket_can_stand_in_the_hosts_name() -> None:
    place = S3Location("events", "logs", "https://s3.example.org:9000", virtual_hosted=True)
    assert place.storage_options()["AWS_ENDPOINT_URL"] == "https://events.s3.example.org:9000"
    assert place.url == "s3://events/logs"
