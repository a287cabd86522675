"""Where a system keeps what it stores: a data directory or a bucket, and which folder of it is for what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ess_ray.adapters.delta_catalog import DeltaCatalog, table_log
from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.delta_log import TableLog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.adapters.s3_location import S3Location
from ess_ray.ports import ObjectStore

if TYPE_CHECKING:  # its library takes a fifth of a second to import, in each process
    from ess_ray.settings import Settings

EVENTS: Final = "events"
"""The table's root."""
DEAD_LETTERS: Final = "dead-letters"
LAMBDA_ANSWERS: Final = "lambda-answers"
"""What Lambda invocations found and could not hand over; read and deleted at once."""
KEYS: Final = "keys"
"""Beside the table, whose readers list its root."""
POOL: Final = "pool"
DELETIONS: Final = "deletions"
"""Beside the table: where each deletion stands."""
ALERTS: Final = "alerts"
"""Beside the table: rules, silences, and where each rule stands."""
LOG: Final = "log.sqlite"
"""The embedded log, in the data directory."""


@dataclass(frozen=True)
class Places:
    """A description that any process can build stores from. `bucket` None: everything lies in `data_dir`."""

    data_dir: Path
    bucket: S3Location | None = None

    def store(self, folder: str) -> ObjectStore:
        """Give the object store of a folder."""
        at = self._at(folder)
        return LocalObjectStore(at) if isinstance(at, Path) else at.open()

    def catalog(self, *, mends: bool = True) -> DeltaCatalog:
        """Open the table, or make it; `mends`: see there. Raises Unavailable."""
        return DeltaCatalog(self._at(EVENTS), mends=mends)

    def table_log(self) -> TableLog:
        """Give the files of the table's log, whether or not there is a table."""
        return table_log(self._at(EVENTS))

    def local_table_log(self) -> LogFiles | None:
        """Give the same where they are files that can be put aside: in a data directory; None for a bucket."""
        return LogFiles(self.data_dir / EVENTS) if self.bucket is None else None

    @property
    def address(self) -> str:
        """Where all of it lies, for messages."""
        return str(self.data_dir) if self.bucket is None else self.bucket.url

    def _at(self, folder: str) -> Path | S3Location:
        if self.bucket is None:
            return self.data_dir / folder
        return replace(self.bucket, prefix=f"{self.bucket.prefix}/{folder}".lstrip("/"))


def places_of(settings: Settings) -> Places:
    """Read the places from the settings. Raises BadRequest for names that cannot be."""
    store = settings.store
    if not store.bucket:
        return Places(settings.data_dir.resolve())
    location = S3Location(
        store.bucket,
        store.prefix,
        store.endpoint,
        region=store.region,
        access_key=None if store.access_key is None else store.access_key.get_secret_value(),
        secret_key=None if store.secret_key is None else store.secret_key.get_secret_value(),
        virtual_hosted=store.virtual_hosted,
    )
    return Places(settings.data_dir.resolve(), location)
