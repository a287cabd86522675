"""The book of keys: what is stored, who is recognised, and that nothing stands open again."""

from __future__ import annotations

import pytest

from ess_ray.core.errors import BadRequest, NotFound, Unavailable
from ess_ray.keys import KeyBook, recognise
from ess_ray.testing import MemoryObjectStore
from tests.stores import AilingStore

NOW_US = 1_790_000_000_000_000


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(lambda: NOW_US)


@pytest.fixture
def book(store: MemoryObjectStore) -> KeyBook:
    return KeyBook(store)


def test_a_key_is_recognised_by_its_text_alone(book: KeyBook) -> None:
    key, text = book.create("acme", ["search", "push"], "the shop")
    other, _ = book.create("acme", ["push"])
    keys = {one.id: one for one in book.look().keys}
    found = recognise(text, keys)
    assert found == key
    assert (key.tenant, key.scopes, key.name, key.created_us) == ("acme", ("push", "search"), "the shop", NOW_US)
    assert key.allows("push")
    assert not key.allows("admin")
    swapped = text.replace(key.id, other.id)
    for wrong in (
        "",
        text[:-1],
        text + "0",
        text.upper(),
        swapped,
        f"ess_{'0' * 12}_{'0' * 64}",
        text.replace("_", "-"),
    ):
        assert recognise(wrong, keys) is None


def test_no_secret_is_stored(book: KeyBook, store: MemoryObjectStore) -> None:
    _, text = book.create("acme", ["push"])
    secret = text.rsplit("_", 1)[1]
    (info,) = store.list("")
    assert secret.encode() not in store.get_suffix(info.key, 10_000)
    assert secret not in repr(book.look().keys)


def test_a_revoked_key_is_refused_and_stays_in_the_book(book: KeyBook) -> None:
    key, text = book.create("acme", ["admin"])
    assert book.revoke(key.id).revoked_us == NOW_US
    assert book.revoke(key.id).revoked_us == NOW_US
    (found,) = book.look().keys
    assert not found.allows("admin")
    assert recognise(text, {found.id: found}) is None


@pytest.mark.parametrize("key_id", ["0" * 12, "nothing", "../x", ""])
def test_an_unknown_key_cannot_be_revoked(book: KeyBook, key_id: str) -> None:
    with pytest.raises(NotFound):
        book.revoke(key_id)


def test_what_makes_no_key(book: KeyBook) -> None:
    for tenant, scopes, name in (
        ("Bad Tenant", ["push"], ""),
        ("t", [], ""),
        ("t", ["push"], "a\nb"),
        ("t", ["push"], "x" * 101),
    ):
        with pytest.raises(BadRequest):
            book.create(tenant, scopes, name)  # type: ignore[arg-type]
    assert book.look().keys == ()


@pytest.mark.parametrize(
    "data",
    [b'{"id": 1}', b"", b"\xff\x00garbage", b"[]", b"null", b'{"id":"0123456789ab","tenant":"t","scopes":["push"]'],
)
def test_a_damaged_key_is_named_opens_nothing_and_keeps_no_other_from_working(
    book: KeyBook, store: MemoryObjectStore, data: bytes
) -> None:
    good, text = book.create("acme", ["push"])
    store.put("0123456789ab.json", data)
    found = book.look()
    assert (found.keys, found.closed) == ((good,), True)
    (reason,) = found.damaged
    assert "keys/0123456789ab.json" in reason
    assert "ess keys revoke 0123456789ab" in reason
    assert recognise(text, {key.id: key for key in found.keys}) == good
    book.revoke("0123456789ab")
    assert book.look().damaged == ()
    assert [key.revoked_us for key in book.look().keys if key.id == "0123456789ab"] == [NOW_US]


def test_a_book_of_damaged_keys_alone_stays_closed(book: KeyBook, store: MemoryObjectStore) -> None:
    assert not book.look().closed
    store.put("0123456789ab.json", b"")
    assert book.look().closed


def test_one_keys_record_in_the_place_of_another_is_damage(book: KeyBook, store: MemoryObjectStore) -> None:
    key, text = book.create("acme", ["push"])
    store.put("0123456789ab.json", store.get_suffix(f"{key.id}.json", 4096))
    assert len(book.look().damaged) == 1
    assert recognise(text, {one.id: one for one in book.look().keys}) == key


# ------------------------------------------------------------------------------------- what the disk refuses to read
@pytest.fixture
def ailing() -> AilingStore:
    return AilingStore(lambda: NOW_US)


def test_a_key_that_the_disk_does_not_give_concerns_itself_alone(ailing: AilingStore) -> None:
    made = KeyBook(ailing)
    (good, _), (lost, _) = made.create("acme", ["push"]), made.create("other", ["push"])
    ailing.unreadable = {f"{lost.id}.json"}
    found = KeyBook(ailing).look()
    assert (found.keys, found.closed, found.unread) == ((good,), True, frozenset({lost.id}))
    (reason,) = found.damaged
    assert f"keys/{lost.id}.json" in reason
    assert "Input/output error" in reason
    assert f"ess keys revoke {lost.id}" in reason
    ailing.unreadable = set()
    assert len(KeyBook(ailing).look().keys) == 2


def test_a_key_that_was_read_before_is_not_read_again_while_nobody_changes_it(ailing: AilingStore) -> None:
    book = KeyBook(ailing)
    key, _ = book.create("acme", ["push"])
    book.look()
    ailing.unreadable = {f"{key.id}.json"}
    assert (book.look().keys, book.look().damaged) == ((key,), ())


def test_a_key_that_the_disk_does_not_give_can_be_revoked(ailing: AilingStore) -> None:
    book = KeyBook(ailing)
    key, _ = book.create("acme", ["push"])
    ailing.unreadable = {f"{key.id}.json"}
    assert book.revoke(key.id).revoked_us == NOW_US


def test_a_key_that_is_deleted_while_the_book_is_read_is_none(ailing: AilingStore) -> None:
    book = KeyBook(ailing)
    (stays, _), (goes, _) = book.create("acme", ["push"]), book.create("acme", ["push"])
    listed = ailing.list("")
    ailing.delete(f"{goes.id}.json")
    ailing.list = lambda prefix: listed  # type: ignore[method-assign]
    assert (book.look().keys, book.look().damaged) == ((stays,), ())


def test_a_store_that_is_away_is_no_damage_of_a_key(ailing: AilingStore) -> None:
    book = KeyBook(ailing)
    book.create("acme", ["push"])
    ailing.away = True
    with pytest.raises(Unavailable, match="away"):
        book.look()
