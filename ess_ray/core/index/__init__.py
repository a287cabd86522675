"""The skip index of one object: which of its row groups may hold what a query needs.

    build(groups) -> bytes            from the object's row groups, in order, each an Arrow table or batch
    Index(blob, groups).keep(needs)   the row groups that may match a formula of ess_ray.core.literals
    can_tell(needs)                   whether asking can be of any use

A superset, never a false negative. `planes` is the stored form of both kinds of filter, `grams` the one over message
text, `values` the one over ids and field values, `file` the whole blob.
"""

from ess_ray.core.index.file import Index, build, can_tell

__all__ = ["Index", "build", "can_tell"]
