"""A life that is short (`python -m tests.short_life`), and speaks to the driver as `deployments.life` does.

`SHORT_LIFE` says what it does: `lost` tells a reason and ends, `killed` is killed, `unready` ends before it is
ready, `lasts` runs until it is asked to stop, `starts` never becomes ready.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

LOST = 3


def main() -> None:
    tell, does = int(sys.argv[sys.argv.index("--tell") + 1]), os.environ["SHORT_LIFE"]

    def say(**said: Any) -> None:
        os.write(tell, json.dumps(said).encode() + b"\n")

    say(step="starting Ray")
    if does not in ("unready", "starts"):
        say(ready="http://dashboard")
    if does == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if does in ("lost", "unready"):
        say(lost="the raylet ended")
        sys.exit(LOST)
    signal.sigwait([signal.SIGTERM])


if __name__ == "__main__":
    main()
