"""The typed settings: `ess.yaml` and `ESS_` variables as one tree, unknown names refused, secrets never printed.

- `sections`: each section's values, defaults and bounds.
- `ports`: which ports they open.
- `reading`: the whole tree, where it is read from, how mistakes are told.
"""

from ess_ray.settings.ports import PortAt, ports_of
from ess_ray.settings.reading import CONFIG_VARIABLE, Settings, known_variables, load, secrets_in, settings_file

__all__ = [
    "CONFIG_VARIABLE",
    "PortAt",
    "Settings",
    "known_variables",
    "load",
    "ports_of",
    "secrets_in",
    "settings_file",
]
