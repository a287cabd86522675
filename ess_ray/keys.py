"""API keys: who may push, search or administer, and for which tenant.

A key is `ess_ID_SECRET`. What is stored, one object a key, is the SHA-256 of its secret: 256 random bits need no slow
hash. A revoked key stays in the book, so that a system whose last key was revoked does not stand open again.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Final, Literal, get_args

import orjson

from ess_ray.core.errors import BadRequest, CorruptData, NotFound
from ess_ray.core.summed import read_summed, with_sum
from ess_ray.core.tenant import DEFAULT_TENANT, check_tenant
from ess_ray.damage import reading_from
from ess_ray.ports import ObjectInfo, ObjectStore

Scope = Literal["push", "search", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
MAX_NAME_CHARS: Final = 100
"""A key's name is for people: a line of a table."""
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_TEXT = re.compile(r"ess_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)
_PLACE = re.compile(r"[0-9a-f]{12}\.json", re.ASCII)
_MAX_RECORD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; its secret is not among it. Times are epoch microseconds."""

    id: str
    tenant: str
    scopes: tuple[Scope, ...]
    name: str
    created_us: int
    secret_sha256: str
    revoked_us: int | None = None

    def allows(self, scope: Scope) -> bool:
        """Tell whether the key opens what `scope` guards; `admin` opens nothing but itself."""
        return self.revoked_us is None and scope in self.scopes


@dataclass(frozen=True, slots=True)
class Book:
    """The keys that there are, and what is wrong with each that cannot be read: it opens nothing.

    `unread`: the ids of those whose records their store does not give, and which may be good.
    """

    keys: tuple[ApiKey, ...]
    damaged: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()

    @property
    def closed(self) -> bool:
        """Whether a key is needed: from the first one on, also when nobody can say any more which it was."""
        return bool(self.keys or self.damaged)


class KeyBook:
    """The keys in an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[str, tuple[ObjectInfo, ApiKey]] = {}

    def create(self, tenant: str, scopes: Iterable[Scope], name: str = "") -> tuple[ApiKey, str]:
        """Make a key; gives it and its text, which is told this once. Raises BadRequest."""
        check_tenant(tenant)
        wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
        if not wanted:
            raise BadRequest(f"a key needs at least one scope of {', '.join(SCOPES)}")
        if len(name) > MAX_NAME_CHARS or not name.isprintable():
            raise BadRequest(f"a key's name is one line of at most {MAX_NAME_CHARS} characters")
        secret = secrets.token_hex(_SECRET_BYTES)
        key = ApiKey(secrets.token_hex(_ID_BYTES), tenant, wanted, name, self._store.now_us(), _digest(secret))
        self._put(key)
        return key, f"ess_{key.id}_{secret}"

    def look(self) -> Book:
        """Read all keys, the revoked ones too, the oldest first; those that cannot be read are named beside them.

        Reads again what has changed since this book looked before: replicas ask every second or two. Whoever revokes a
        key makes its record longer, so that this is seen whatever the store's clock resolves. Raises Unavailable for
        the store alone, never for one record of it.
        """
        known: dict[str, tuple[ObjectInfo, ApiKey]] = {}
        damaged: list[str] = []
        unread: set[str] = set()
        for info in self._store.list(""):
            if _PLACE.fullmatch(info.key) is None:
                continue
            before = self._known.get(info.key)
            try:
                known[info.key] = before if before and before[0] == info else (info, self._read(info.key))
            except NotFound:
                continue  # it was deleted since
            except _NotGiven as error:
                damaged.append(error.message)
                unread.add(info.key.removesuffix(".json"))
            except CorruptData as error:
                damaged.append(error.message)
        self._known = known
        found = sorted((key for _, key in known.values()), key=lambda key: (key.created_us, key.id))
        return Book(tuple(found), tuple(damaged), frozenset(unread))

    def revoke(self, key_id: str) -> ApiKey:
        """Take a key's rights away; it is refused everywhere within seconds. Idempotent. Raises NotFound.

        One that cannot be read becomes a revoked one, so that a system with no other key stays closed.
        """
        if re.fullmatch(r"[0-9a-f]{12}", key_id, re.ASCII) is None or self._store.head(_place(key_id)) is None:
            raise NotFound(f"there is no key {key_id}: `ess keys list` names them")
        try:
            key = self._read(_place(key_id))
        except CorruptData:
            key = ApiKey(key_id, DEFAULT_TENANT, (), "could not be read", self._store.now_us(), "")
        if key.revoked_us is None:
            key = replace(key, revoked_us=self._store.now_us())
            self._put(key)
        return key

    def _put(self, key: ApiKey) -> None:
        self._store.put(_place(key.id), with_sum(orjson.dumps(asdict(key))))

    def _read(self, place: str) -> ApiKey:
        """Raises CorruptData, NotFound, Unavailable."""
        return read_key(place, key_bytes(self._store, place))


class _NotGiven(CorruptData):
    """A record that its store does not give, though it names it. Never leaves this module but as CorruptData."""


def key_bytes(store: ObjectStore, place: str) -> bytes:
    """Give the bytes of a key's record. Raises CorruptData where the store has it and does not give it; NotFound;
    Unavailable where it is the store that is away."""
    try:
        with reading_from(store, place):
            return store.get_suffix(place, _MAX_RECORD_BYTES)
    except CorruptData as error:
        raise _NotGiven(
            f"the key in keys/{place} cannot be read and is refused: {error.message}; look at the disk and at the "
            f"file's rights, or `ess keys revoke {place.removesuffix('.json')}`, then make a new one",
            key=place,
        ) from error


def read_key(place: str, data: bytes) -> ApiKey:
    """Read a key as it is stored under `place`. Raises CorruptData."""
    try:
        told = read_summed(data)
        key = ApiKey(**{**told, "scopes": tuple(told["scopes"])})
        numbers, texts = (key.created_us, key.revoked_us or 0), (key.name, key.secret_sha256)
        if _place(key.id) != place or not set(key.scopes) <= set(SCOPES):
            raise ValueError("it is another key's")
        if not all(isinstance(one, int) for one in numbers) or not all(isinstance(one, str) for one in texts):
            raise TypeError("it holds something else")
        check_tenant(key.tenant)
    except (ValueError, TypeError, KeyError, BadRequest) as error:
        raise CorruptData(
            f"the key in keys/{place} does not read as one and is refused: `ess keys revoke "
            f"{place.removesuffix('.json')}`, then make a new one",
            key=place,
        ) from error
    return key


def id_of(text: str) -> str | None:
    """Give the id in a key's text; None when it is no key's."""
    match = _TEXT.fullmatch(text)
    return None if match is None else match[1]


def recognise(text: str, keys: Mapping[str, ApiKey]) -> ApiKey | None:
    """Find the key, by id in `keys`, whose text this is; None for none, and for a revoked one."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    key = keys.get(match[1])
    # Compared in any case, so that the time taken does not tell which ids there are.
    same = hmac.compare_digest(_digest(match[2]), key.secret_sha256 if key is not None else _digest(""))
    return key if same and key is not None and key.revoked_us is None else None


def _place(key_id: str) -> str:
    return f"{key_id}.json"


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
