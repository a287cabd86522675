"""What is kept of alerts in an object store, beside keys and deletions, each tenant in folders of its own.

rules/TENANT/HASH.json      a group as it was applied        written by whoever is asked to
silences/TENANT/ID.json     a silence                        the same
states/TENANT/HASH.json     where the rules of a group stand written by the one process that evaluates them
forgotten/TENANT.json       when events were deleted last     written by who deletes them
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final

import orjson

from ess_ray.alerts.rules import Group, check_name, read_group
from ess_ray.alerts.silences import Matcher, Silence, matcher_of
from ess_ray.alerts.states import GroupState, RuleState, decode_state, encode_state
from ess_ray.core.errors import BadRequest, CorruptData, NotFound
from ess_ray.core.summed import read_summed, with_sum
from ess_ray.core.tenant import check_tenant
from ess_ray.damage import reading_from
from ess_ray.ports import ObjectInfo, ObjectStore

_log = logging.getLogger(__name__)

MAX_GROUPS: Final = 1_000
"""Of a tenant: each is a few searches a minute."""
MAX_SILENCES: Final = 1_000
"""Of a tenant, that have not ended."""
KEEP_SILENCE_US: Final = 24 * 3_600_000_000
"""How long a silence that has ended is listed."""
MAX_RECORD_BYTES: Final = 64 * 1024 * 1024
"""Of 100 rules with a thousand alerts each."""
_SETTLED_US: Final = 3_000_000
"""A record this old is known by its time alone: stores tell whole seconds."""
_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Applied:
    """A group, whose it is, and what cannot be read of it any more: None as a rule; its name is then not known.

    `place`: its record's (`rules_place`).
    """

    place: str
    tenant: str
    name: str
    group: Group | None
    flaw: str | None = None


class AlertBook:
    """Rules, states and silences in an object store. Blocking, as stores are.

    A record that cannot be read concerns itself alone; what was read of it before goes on being used.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[str, tuple[ObjectInfo, Applied]] = {}
        self._silences: dict[str, Silence] = {}
        self._flaws: dict[str, str] = {}

    @property
    def lacks_states(self) -> bool:
        """Whether some state could not be read, and was not written anew since."""
        return any(place.startswith("states/") for place in self._flaws)

    def flaws(self) -> list[str]:
        """Tell what is wrong with each silence, and each state, that could not be read when it was looked for last."""
        return [flaw for _, flaw in sorted(self._flaws.items())]

    def every_flaw(self) -> list[str]:
        """Read all there is, and tell what is wrong with each record that cannot be read. Changes nothing."""
        rules = [f"{one.flaw}: apply the group again" for one in self.groups() if one.flaw is not None]
        for _ in self.states():
            pass
        for info in self._store.list("silences/"):
            self._look_at_silence(info.key)
        return [*rules, *self.flaws()]

    # ----------------------------------------------------------------------------------------------------------- rules
    def apply(self, tenant: str, group: Group) -> bool:
        """Keep a group in place of one of this name; tells whether it is a new one. Idempotent. Raises BadRequest."""
        place = _place("rules", check_tenant(tenant), group.name)
        is_new = self._store.head(place) is None
        if is_new and len(self._store.list(f"rules/{tenant}/")) >= MAX_GROUPS:
            raise BadRequest(f"there are {MAX_GROUPS:,} groups of rules already: delete some, or put rules together")
        self._store.put(place, with_sum(orjson.dumps({"tenant": tenant, "group": group.told})))
        return is_new

    def group(self, tenant: str, name: str) -> Group:
        """Raises NotFound, CorruptData."""
        place = _place("rules", check_tenant(tenant), check_name(name, "a group's name"))
        if self._store.head(place) is None:
            raise NotFound(f"there is no group of rules {name}")
        found = self._read_group(place)
        if found.group is None:
            raise CorruptData(f"{found.flaw}: apply the group again", key=place)
        return found.group

    def delete(self, tenant: str, name: str) -> None:
        """Let a group go; its alerts are resolved soon. Raises NotFound."""
        place = _place("rules", check_tenant(tenant), check_name(name, "a group's name"))
        if self._store.head(place) is None:
            raise NotFound(f"there is no group of rules {name}")
        self._store.delete(place)

    def groups(self, tenant: str | None = None) -> list[Applied]:
        """Give all groups of a tenant (None: of all), by tenant and name; one that cannot be read says why.

        Reads again what has changed since this book looked before.
        """
        now_us = self._store.now_us()
        known: dict[str, tuple[ObjectInfo, Applied]] = {}
        for info in self._store.list("rules/" if tenant is None else f"rules/{tenant}/"):
            before = self._known.get(info.key)
            is_known = before is not None and before[0] == info and before[1].flaw is None
            found = before[1] if before is not None and is_known else self._read_group(info.key)
            known[info.key] = (info, found)
        kept = {key: one for key, one in known.items() if now_us - one[0].modified_us > _SETTLED_US}
        self._known = kept if tenant is None else {**self._known, **kept}
        return sorted((found for _, found in known.values()), key=lambda one: (one.tenant, one.name))

    def _read_group(self, place: str) -> Applied:
        _, tenant, name = place.split("/")
        try:
            told = _only({"tenant", "group"}, self._bytes(place))
            tenant, name = told["tenant"], told["group"]["name"]
            return Applied(place, tenant, name, read_group(told["group"]))
        except NotFound:
            return Applied(place, tenant, name, None, "it was just deleted")
        except CorruptData as error:
            return Applied(place, tenant, name, None, error.message)
        except (ValueError, TypeError, KeyError, BadRequest) as error:
            return Applied(place, tenant, name, None, f"alerts/{place} does not read as rules: {error}")

    # ---------------------------------------------------------------------------------------------------------- states
    def state(self, tenant: str, name: str) -> dict[str, RuleState]:
        """Give where a group's rules stand; nothing before their first evaluation. Raises CorruptData."""
        place = _place("states", tenant, name)
        if self._store.head(place) is None:
            return {}
        return _state_in(self._bytes(place), place)[1]

    def write_state(self, tenant: str, name: str, state: GroupState) -> None:
        """Keep where a group's rules stand, durably; for the one process that evaluates them."""
        kept = orjson.dumps({"tenant": tenant, "name": name, "state": orjson.Fragment(encode_state(state))})
        self._store.put(_place("states", tenant, name), with_sum(kept))
        self._flaws.pop(_place("states", tenant, name), None)

    def delete_state(self, tenant: str, name: str) -> None:
        """Let go of what is known of a group that is no more."""
        self._store.delete(_place("states", tenant, name))

    def states(self) -> Iterator[tuple[str, str, dict[str, RuleState]]]:
        """Give (tenant, group, states) of all groups; what cannot be read is told (`flaws`), and begins anew."""
        for info in self._store.list("states/"):
            try:
                (tenant, name), state = _state_in(self._bytes(info.key), info.key)
            except NotFound:
                continue  # it was deleted since
            except CorruptData as error:
                self._tell(info.key, error.message)
                continue
            self._flaws.pop(info.key, None)
            yield tenant, name, state

    # ------------------------------------------------------------------------------------------------------ forgetting
    def forget(self, tenant: str, until_us: int) -> None:
        """Keep that events of a tenant were deleted at this moment: what alerts tell of before may be of them.

        Idempotent; the latest moment counts.
        """
        if self.forgotten(tenant) < until_us:
            self._store.put(_forgotten_place(tenant), with_sum(orjson.dumps({"until_us": until_us})))

    def forgotten(self, tenant: str) -> int:
        """Give when events of a tenant were deleted last; 0 for never. Raises CorruptData."""
        place = _forgotten_place(tenant)
        try:
            return _moment_in(self._bytes(place), place)
        except NotFound:
            return 0

    # -------------------------------------------------------------------------------------------------------- silences
    def silence(
        self, tenant: str, matchers: Sequence[Matcher], *, starts_us: int, ends_us: int, comment: str, created_by: str
    ) -> Silence:
        """Make a silence. Raises BadRequest."""
        check_tenant(tenant)
        if sum(one.ends_us > self._store.now_us() for one in self.silences(tenant)) >= MAX_SILENCES:
            raise BadRequest(f"there are {MAX_SILENCES:,} silences already: delete some")
        made = Silence(secrets.token_hex(8), tenant, tuple(matchers), starts_us, ends_us, comment, created_by)
        self._write_silence(made)
        return made

    def end_silence(self, tenant: str, silence_id: str) -> Silence:
        """End a silence now; one that has ended stays as it is. Raises NotFound."""
        place = f"silences/{check_tenant(tenant)}/{silence_id}.json"
        if _ID.fullmatch(silence_id) is None or self._store.head(place) is None:
            raise NotFound(f"there is no silence {silence_id[:60]}")
        found = self._read_silence(place)
        now_us = self._store.now_us()
        if found.ends_us > now_us:
            found = replace(found, ends_us=now_us, starts_us=min(found.starts_us, now_us))
            self._write_silence(found)
        return found

    def silences(self, tenant: str | None = None) -> list[Silence]:
        """Give the silences of a tenant (None: of all), the newest first; those that ended long ago are let go of.

        One that cannot be read is told (`flaws`), and is as it was read last: else it would wake somebody.
        """
        found, folder = [], "silences/" if tenant is None else f"silences/{tenant}/"
        there = [info.key for info in self._store.list(folder)]
        self._forget(folder, frozenset(there))
        for place in there:
            one = self._look_at_silence(place)
            if one is not None and one.ends_us + KEEP_SILENCE_US < self._store.now_us():
                self._store.delete(place)
            elif one is not None:
                found.append(one)
        return sorted(found, key=lambda one: (-one.starts_us, one.id))

    def _look_at_silence(self, place: str) -> Silence | None:
        """Read a silence; as it was read last where that cannot be, None where it never was."""
        try:
            self._silences[place] = self._read_silence(place)
        except NotFound:
            return None  # it was deleted since
        except CorruptData as error:
            self._tell(place, error.message)
        else:
            self._flaws.pop(place, None)
        return self._silences.get(place)

    def _forget(self, folder: str, there: frozenset[str]) -> None:
        """Let go of what is known of silences of a folder that are no more."""
        for known in (self._silences, self._flaws):
            for gone in [place for place in known if place.startswith(folder) and place not in there]:
                del known[gone]

    def _write_silence(self, silence: Silence) -> None:
        self._store.put(f"silences/{silence.tenant}/{silence.id}.json", with_sum(orjson.dumps(asdict(silence))))

    def _read_silence(self, place: str) -> Silence:
        return _silence_in(self._bytes(place), place)

    def _bytes(self, place: str) -> bytes:
        """Raises CorruptData for a record that its store names and does not give; NotFound, Unavailable."""
        try:
            with reading_from(self._store, place):
                return self._store.get_suffix(place, MAX_RECORD_BYTES)
        except CorruptData as error:
            raise CorruptData(
                f"alerts/{place} cannot be read: {error.message}; look at the disk and at the file's rights, or delete "
                "it",
                key=place,
            ) from error

    def _tell(self, place: str, flaw: str) -> None:
        if self._flaws.get(place) != flaw:
            _log.error("%s", flaw)
        self._flaws[place] = flaw


def _only(members: set[str], data: bytes) -> Mapping[str, Any]:
    """Read a record that has these members alone: one whose sum has another name is not believed. Raises ValueError,
    TypeError."""
    told: Mapping[str, Any] = read_summed(data)
    if set(told) != members:
        raise ValueError("it holds something else")
    return told


def rules_place(tenant: str, name: str) -> str:
    """Tell where a group's rules are kept."""
    return _place("rules", tenant, name)


def _state_in(data: bytes, place: str) -> tuple[tuple[str, str], dict[str, RuleState]]:
    try:
        told = _only({"tenant", "name", "state"}, data)
        whose = str(told["tenant"]), str(told["name"])
        state = orjson.dumps(told["state"])
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptData(f"alerts/{place} does not read as a state: delete it, rules begin anew", key=place) from error
    return whose, decode_state(state, f"alerts/{place}")


def _silence_in(data: bytes, place: str) -> Silence:
    try:
        told: dict[str, Any] = read_summed(data)
        return Silence(**{**told, "matchers": tuple(matcher_of(one) for one in told["matchers"])})
    except (ValueError, TypeError, KeyError, BadRequest) as error:
        raise CorruptData(f"alerts/{place} does not read as a silence: delete it, make it anew", key=place) from error


def _moment_in(data: bytes, place: str) -> int:
    try:
        return int(read_summed(data)["until_us"])
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptData(f"alerts/{place} does not read as a time: delete it", key=place) from error


def _forgotten_place(tenant: str) -> str:
    return f"forgotten/{check_tenant(tenant)}.json"


def _place(kind: str, tenant: str, name: str) -> str:
    """Names may hold anything: keys may not."""
    return f"{kind}/{tenant}/{sha256(name.encode()).hexdigest()[:32]}.json"


def check_record(place: str, data: bytes) -> None:
    """Raise CorruptData for a record that no book could read."""
    kind = place.partition("/")[0]
    if kind != "rules":
        {"states": _state_in, "forgotten": _moment_in}.get(kind, _silence_in)(data, place)
        return
    try:
        read_group(_only({"tenant", "group"}, data)["group"])
    except (ValueError, TypeError, KeyError, BadRequest) as error:
        raise CorruptData(f"alerts/{place} does not read as what it is: {error!r}", key=place) from error
