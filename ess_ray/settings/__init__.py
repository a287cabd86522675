"""The typed settings: `ess.yaml` and `ESS_` variables as one tree, unknown names refused, secrets never printed.

- `sections`: each section's values, defaults and bounds.
- `reading`: the whole tree, where it is read from, how mistakes are told.

May live here: what can be set, its default, its bounds, where it is read from. May not: what is done with it, and no
option that nothing reads. The composition root turns sections into the limits of ingest and search by their `limits`.
"""

from ess_ray.settings.reading import CONFIG_VARIABLE, Settings, known_variables, load, secrets_in, settings_file

__all__ = ["CONFIG_VARIABLE", "Settings", "known_variables", "load", "secrets_in", "settings_file"]
