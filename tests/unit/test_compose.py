"""infra/compose.yaml holds together: names, secrets, ports, scripts, and options that Ray and the servers know.

No container runs here, so what needs an engine (images, networks, health in fact) is not tested.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.scripts.scripts import start

from ess_ray.settings import known_variables

INFRA = Path(__file__).parents[2] / "infra"
TEXT = (INFRA / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def example() -> dict[str, str]:
    lines = (INFRA / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_variable_is_in_the_example_and_no_secret_has_a_default() -> None:
    used = re.findall(r"(?<!\$)\$\{(\w+)(:-)?", TEXT)
    assert {name for name, _ in used} == example().keys()
    assert {name for name, default in used if default} <= {"ESS_IMAGE"}
    assert {name for name, value in example().items() if value == "CHANGE-ME"} == SERVICES["check"][
        "environment"
    ].keys()


@pytest.mark.parametrize(("value", "code"), [("CHANGE-ME", 1), ("0123abcd", 0)])
def test_placeholders_are_refused(value: str, code: int) -> None:
    script = SERVICES["check"]["command"][0].replace("$$", "$")
    environment = {"PATH": "/usr/bin:/bin", "S3_SECRET_KEY": value}
    assert subprocess.run(["sh", "-c", script], env=environment, check=False, capture_output=True).returncode == code


def test_images_have_exact_versions_and_ports_are_on_loopback() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_services_volumes_and_mounted_files_exist() -> None:
    for name, service in SERVICES.items():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys(), name
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], (name, other)
        for volume in service.get("volumes", ()):
            place = volume.split(":")[0]
            assert place in COMPOSE["volumes"] or place.startswith("./"), volume
    assert (INFRA / "prometheus.yml").is_file()
    assert yaml.safe_load((INFRA / "prometheus.yml").read_text())["scrape_configs"][0]["job_name"] == "ray"


def test_scripts_parse() -> None:
    for name, service in SERVICES.items():
        scripts = [service["command"][0]] if service.get("entrypoint") == ["sh", "-c"] else []
        check = service.get("healthcheck", {}).get("test", ["", ""])
        scripts += [check[1]] if check[0] == "CMD-SHELL" else []
        for script in scripts:
            done = subprocess.run(["sh", "-n", "-c", script.replace("$$", "$")], check=False, capture_output=True)
            assert done.returncode == 0, (name, done.stderr)


def test_ray_and_ess_know_what_they_are_given() -> None:
    known = {option for parameter in start.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name in ("ray-head", "ray-worker"):
        given = {part.split("=")[0] for part in SERVICES[name]["entrypoint"] if part.startswith("--")}
        assert given <= known, given - known
        ours = {variable for variable in SERVICES[name]["environment"] if variable.startswith("ESS_")}
        assert ours <= set(known_variables())
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
