"""The function's package: a zip for x86-64 with the scan, the object store and their wheels, the same bytes each time.

Wheels are fetched from the package index by name, at the versions that run here, whatever machine this is. May live
here: what goes into the zip, and how it is written. May not: what the function does.
"""

from __future__ import annotations

import argparse
import fnmatch
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

WHEELS: Final = ("numpy", "obstore", "pyarrow", "stringzilla", "typing-extensions", "zstandard")
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""What Lambda's Amazon Linux 2023 runs."""
OUR_FILES: Final = (
    "ess_ray/__init__.py",
    "ess_ray/core/**/*.py",
    "ess_ray/ports.py",
    "ess_ray/search/__init__.py",
    "ess_ray/search/scan.py",
    "ess_ray/search/wire.py",
    "ess_ray/adapters/__init__.py",
    "ess_ray/adapters/durable.py",
    "ess_ray/adapters/object_store.py",
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
    *("numpy/tests/*", "numpy/*/tests/*", "numpy/f2py/*", "bin/*", "*/__pycache__/*"),
    *("zstandard/_cffi*",),
)
"""Of the wheels: what no import of the function reaches, and second copies of libraries (links, in a wheel)."""
MAX_UNZIPPED_BYTES: Final = 250 * 1024 * 1024
"""Lambda's limit for a package with its layers."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Of every file: the oldest that a zip can tell."""
ROOT: Final = Path(__file__).parents[1]


class PackageError(Exception):
    """The package cannot be made; the message says what to do."""


def build_package(output: Path) -> int:
    """Write the zip to `output`; gives its size unzipped, in bytes. Raises PackageError."""
    with tempfile.TemporaryDirectory(prefix="ess-lambda-") as folder:
        _fetch_wheels(Path(folder))
        files = dict(sorted([*_wheel_files(Path(folder)), *_our_files()]))
        size = sum(path.stat().st_size for path in files.values())
        if size > MAX_UNZIPPED_BYTES:
            raise PackageError(f"the package has {size} bytes unzipped, Lambda takes {MAX_UNZIPPED_BYTES}")
        _write(output, files)
    return size


def write_template(output: Path) -> Path:
    """Write the SAM template beside the package, pointing at it; gives its path."""
    text = (ROOT / "lambda_compat" / "template.yaml").read_text(encoding="utf-8")
    text = text.replace("CodeUri: ess-lambda.zip", f"CodeUri: {output.name}")
    path = output.parent / "template.yaml"
    path.write_text(text.replace("Runtime: python3.11", f"Runtime: python{_python()}"), encoding="utf-8")
    return path


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _fetch_wheels(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        str(folder),
    ]
    command += [
        "--no-deps",
        "--no-compile",
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={_python()}",
    ]
    command += [f"--platform={name}" for name in PLATFORMS]
    command += [f"{name}=={version(name)}" for name in WHEELS]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PackageError(
            f"the wheels cannot be fetched: is the package index reachable? It said: {done.stderr.strip()}"
        )


def _wheel_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        # What pip notes about the installation differs from one to the next; the licences stay.
        noted = ".dist-info/" in name and "/licenses/" not in name and not name.endswith("/METADATA")
        if path.is_file() and not noted and not any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT):
            yield name, path


def _our_files() -> Iterator[tuple[str, Path]]:
    for pattern in OUR_FILES:
        for path in ROOT.glob(pattern):
            yield path.relative_to(ROOT).as_posix(), path


def _write(output: Path, files: dict[str, Path]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as package:
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = 0o755 << 16
            package.writestr(entry, path.read_bytes(), compresslevel=6)


def main() -> None:
    parser = argparse.ArgumentParser(prog="ess lambda package", description="Build the scan function's package.")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the zip, template.yaml beside it")
    output = parser.parse_args().output
    try:
        size = build_package(output)
        template = write_template(output)
    except (PackageError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {size / 1e6:.1f} MB unzipped; template: {template}")


if __name__ == "__main__":
    main()
