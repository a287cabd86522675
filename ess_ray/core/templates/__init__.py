"""Templates of messages: what stays when numbers, identifiers, addresses and quoted text are cut out.

- `skeletons`: many messages at once -> few different skeletons. `masks`: a skeleton -> its template.
- `kinds`: what placeholders there are. `groups`: templates that differ rarely -> patterns.
"""

from ess_ray.core.templates.groups import patterns_of
from ess_ray.core.templates.kinds import blanked, literals_of, read_shown, regex_of, shown
from ess_ray.core.templates.masks import template_of
from ess_ray.core.templates.skeletons import MAX_MESSAGE_BYTES, skeletons_of

__all__ = [
    "MAX_MESSAGE_BYTES",
    "blanked",
    "literals_of",
    "patterns_of",
    "read_shown",
    "regex_of",
    "shown",
    "skeletons_of",
    "template_of",
]
