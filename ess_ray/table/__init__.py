"""The stored table: what changes it besides its writers, and what checks it.

Compaction, retention and deletion take objects out of it, `maintenance` collects what nobody can need any more,
`transfer` copies it, `verify` and `mend` look for what is wrong, `disk` for the room it has. How objects look is in
`core.chunk`, how they get in is `ingest`.
"""
