"""The function's package: a zip for x86-64 with the scan, the object store and their wheels, the same bytes each
time.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ess_ray.cli.files import writing
from ess_ray.core.errors import EssError
from lambda_compat.wheels import WHEELS, Files, PackageError, python_version, wheel_files

OUR_FILES: Final = (
    "ess_ray/__init__.py",
    "ess_ray/core/**/*.py",
    "ess_ray/ports/*.py",
    "ess_ray/search/__init__.py",
    "ess_ray/search/scan.py",
    "ess_ray/search/wire.py",
    "ess_ray/adapters/__init__.py",
    "ess_ray/adapters/durable.py",
    "ess_ray/adapters/object_store.py",
    "ess_ray/adapters/private.py",
    "ess_ray/adapters/s3_location.py",
    "ess_ray/adapters/s3_store.py",
    "ess_ray/adapters/store_url.py",
    "lambda_compat/__init__.py",
    "lambda_compat/handler.py",
)
LEFT_OUT: Final = (
    *("pyarrow/tests/*", "pyarrow/include/*", "pyarrow/src/*", "pyarrow/*.p?[xdi]", "pyarrow/*.h"),
    *("pyarrow/*flight*", "pyarrow/*s3*", "pyarrow/_gcsfs*", "pyarrow/_azurefs*", "pyarrow/_hdfs*", "pyarrow/_orc*"),
    *("pyarrow/_dataset*", "pyarrow/_substrait*", "pyarrow/_json*", "pyarrow/_csv*", "pyarrow/_feather*"),
    *("pyarrow/*encryption*", "pyarrow/*cpp_test*", "pyarrow/libarrow_python.so", "pyarrow/*.so.*.*.*"),
    *("numpy/tests/*", "numpy/*/tests/*", "numpy/f2py/*", "numpy/*.pyi", "numpy/*.a", "*/__pycache__/*"),
    *("zstandard/_cffi*",),
)
"""Of the wheels: what no import of the function reaches, and second copies of libraries (links, once)."""
MAX_UNZIPPED_BYTES: Final = 250 * 1024 * 1024
"""Lambda's limit for a package with its layers."""
COMPRESSION: Final = 3
"""64 instead of 59 MB at a third of the time; Lambda counts what is unzipped."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Of every file: the oldest that a zip can tell."""
ROOT: Final = Path(__file__).parents[1]


def build_package(output: Path) -> int:
    """Write the zip to `output`; gives its size unzipped, in bytes. Raises PackageError, EssError if it cannot be."""
    with tempfile.TemporaryDirectory(prefix="ess-lambda-") as folder:
        wheels = ((name, path) for name, path in wheel_files(WHEELS, Path(folder)) if not _left_out(name))
        files = dict([*wheels, *our_files()])
        size = sum(path.stat().st_size for path in files.values())
        if size > MAX_UNZIPPED_BYTES:
            raise PackageError(f"the package has {size} bytes unzipped, Lambda takes {MAX_UNZIPPED_BYTES}")
        with writing(str(output)):
            write_zip(output, files)
    return size


def write_template(output: Path) -> Path:
    """Write the SAM template beside the package, pointing at it; gives its path."""
    text = (ROOT / "lambda_compat" / "template.yaml").read_text(encoding="utf-8")
    text = text.replace("CodeUri: ess-lambda.zip", f"CodeUri: {output.name}")
    path = output.parent / "template.yaml"
    path.write_text(text.replace("Runtime: python3.11", f"Runtime: python{python_version()}"), encoding="utf-8")
    return path


def _left_out(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT)


def our_files() -> Files:
    """Name the sources that the function runs."""
    for pattern in OUR_FILES:
        for path in ROOT.glob(pattern):
            yield path.relative_to(ROOT).as_posix(), path


def write_zip(output: Path, files: Mapping[str, Path]) -> None:
    """Write files as a zip whose bytes depend on names and contents alone."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as package:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = 0o755 << 16
            package.writestr(entry, path.read_bytes(), compresslevel=COMPRESSION)


def main() -> None:
    parser = argparse.ArgumentParser(prog="ess lambda package", description="Build the scan function's package.")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the zip, template.yaml beside it")
    output = parser.parse_args().output
    try:
        size = build_package(output)
        with writing(str(output)):
            template = write_template(output)
    except (PackageError, EssError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {size / 1e6:.1f} MB unzipped; template: {template}")


if __name__ == "__main__":
    main()
