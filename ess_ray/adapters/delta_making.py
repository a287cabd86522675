"""The Delta table as it is made, and how one that an older version made is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, Field, PostCommitHookProperties, Schema

from ess_ray.adapters.delta_log import TableLog
from ess_ray.adapters.delta_sound import make_sound, opened
from ess_ray.core.errors import BadRequest
from ess_ray.core.event import EVENT_SCHEMA

PARTITION_COLUMNS: Final = ("tenant", "date", "hour")
TABLE_SCHEMA: Final = pa.schema(
    [*EVENT_SCHEMA, pa.field("tenant", pa.string()), pa.field("date", pa.date32()), pa.field("hour", pa.int32())]
)
_STATISTICS: Final = "delta.dataSkippingStatsColumns"
_CONFIGURATION: Final = {
    "delta.logRetentionDuration": "interval 1 days",
    # Objects carry statistics of these columns alone; without the setting every listing builds 45 empty columns.
    _STATISTICS: "timestamp,observed_timestamp",
    # Only `checkpoint` cleans up, after it has synced what replaces the commits that go.
    "delta.enableExpiredLogCleanup": "false",
}
NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def create(files: TableLog) -> None:
    """Make the table unless it is there; of many that try at once one makes it. Raises BadRequest for another table."""
    files.create(_make)
    make_sound(files)
    found = files.partition_columns()
    if found != list(PARTITION_COLUMNS):
        raise BadRequest(f"{files.address} holds another Delta table, partitioned by {found}: choose another place")


def _make(folder: Path) -> None:
    DeltaTable.create(
        folder,
        TABLE_SCHEMA,
        mode="ignore",
        partition_by=list(PARTITION_COLUMNS),
        configuration=_CONFIGURATION,
        post_commithook_properties=NO_HOOKS,
    )


def _missing_columns(table: DeltaTable) -> list[Field]:
    have = {field.name for field in table.schema().fields}
    return [field for field in Schema.from_arrow(TABLE_SCHEMA).fields if field.name not in have]


def _other_statistics(table: DeltaTable) -> bool:
    return bool(table.metadata().configuration.get(_STATISTICS) != _CONFIGURATION[_STATISTICS])


def is_of_an_older_version(table: DeltaTable) -> bool:
    return bool(_missing_columns(table)) or _other_statistics(table)


def bring_up_to_date(files: TableLog) -> None:
    """Add the columns that came with a later format, since other programs refuse objects with columns unknown to the
    table; and have readers see all statistics that objects carry.

    Idempotent. Commits of this moment are refused once and read the catalog again, as after any refusal.
    """
    with files.exclusive():
        table = opened(files)
        before = table.version()
        if missing := _missing_columns(table):
            table.alter.add_columns(missing, post_commithook_properties=NO_HOOKS)
            table.update_incremental()
        if _other_statistics(table):
            table.alter.set_table_properties({_STATISTICS: _CONFIGURATION[_STATISTICS]})
            table.update_incremental()
        if table.version() > before:
            files.sync_commits(before, table.version())
