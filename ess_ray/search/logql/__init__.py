"""LogQL answered by searches: lines, series, labels.

- `labels`: labels <-> fields, rows -> labels. `narrowing`: as much of a query as the search itself answers.
- `stages`: pipelines, with `extracting`, `filtering`, `templates`, over `entries`.
- `logs`: log queries. `metrics`: metric queries, with `series`. `volumes`: labels, series and bytes by labels.
"""
