"""Our store and search beside other engines, on the same rows of one machine, in one run.

- `side`: what a side must do, and the process of its own in which it does it.
- `shapes`: the questions, and the oracle that knows their answers.
- `ours`, `clickhouse`, `duckdb`, `tantivy`, `ripgrep`: one side each.
- `measure`: its steps: load, check, rounds in turn; `tables`: what is printed; `targets`: beside what was to reach.
"""
