"""Processes of ours load no pandas, and what looks for it works without."""

from __future__ import annotations

import subprocess
import sys

USES = (
    "import numpy as np, pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet, deltalake",
    "from ray import serve",
    "pa.array([1, None]); pa.array(['a']); pa.array(np.arange(3)); pa.schema([('a', pa.int64())]).empty_table()",
)


def test_arrow_and_serve_work_without_pandas() -> None:
    lean = "import sys; from ess_ray.runtime.lean import do_without_pandas; do_without_pandas(); do_without_pandas()"
    told = "print('pandas' in sys.modules, len([one for one in sys.meta_path if 'lean' in type(one).__module__]))"
    code = "\n".join([lean, *USES, told])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["False", "1"], 0), done.stderr


def test_the_driver_makes_no_array_before_it_says_so() -> None:
    code = "import sys, deployments.main; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
