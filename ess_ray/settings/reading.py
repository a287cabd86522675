"""The whole tree, and reading it: arguments before variables before the file.

An unknown name in the file is refused. An unknown variable is a warning: the environment is not ours alone (Kubernetes
sets `ESS_PORT` and `ESS_SERVICE_HOST` for a service that is named `ess`).
"""

from __future__ import annotations

import difflib
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from ess_ray.core.errors import BadRequest
from ess_ray.settings.alerts import Alerts
from ess_ray.settings.listeners import Listeners
from ess_ray.settings.sections import Disk, Http, Lambda, Log, Maintenance, Persist, Push, Results, Search, Store

_log = logging.getLogger(__name__)

PREFIX: Final = "ESS_"
NESTING: Final = "__"
CONFIG_VARIABLE: Final = "ESS_CONFIG"
"""Names the settings file; unset: `ess.yaml` in the current folder, if there is one."""
CONFIG_FILE: Final = "ess.yaml"


class Settings(BaseSettings):
    """The whole tree. Make it with `load`, which turns what is wrong into BadRequest."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Path("ess-data")
    url: str = "http://127.0.0.1:8000"
    key: SecretStr | None = None
    """The API key that the commands send; never printed. White space around it is none of it; empty is none."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "text", "json"] = "auto"
    """JSON lines, or text for people; `auto`: text on a terminal, JSON elsewhere."""
    http: Http = Http()
    log: Log = Log()
    store: Store = Store()
    disk: Disk = Disk()
    persist: Persist = Persist()
    search: Search = Search()
    lambda_: Annotated[Lambda, Field(validation_alias=AliasChoices("lambda", "ESS_LAMBDA"))] = Lambda()
    """`lambda` in files and variables, which is no name in Python."""
    results: Results = Results()
    push: Push = Push()
    listeners: Listeners = Listeners()
    maintenance: Maintenance = Maintenance()
    alerts: Alerts = Alerts()

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give the address as http://HOST:PORT")
        if parts.username is not None or parts.password is not None:
            # The URL is printed in many places.
            raise ValueError("give the address without user and password")
        return value.rstrip("/")

    @field_validator("key", mode="before")
    @classmethod
    def _check_key(cls, value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            return value
        text = text.strip().strip(_BYTE_ORDER_MARK).strip()  # as files and variables of Windows end and begin
        wrong = next(((at, what) for at, char in enumerate(text, 1) if (what := _wrong_in_a_key(char))), None)
        if wrong is not None:
            at, what = wrong
            raise ValueError(
                f"character {at} of {len(text)} is {what}, which no key has: copy it again, as `ess keys create` "
                "printed it"
            )
        return text or None

    @model_validator(mode="after")
    def _check_search_replicas(self) -> Settings:
        if self.search.most_replicas > 1 and self.results.redis_url is None:
            raise ValueError(
                "search.replicas and search.max_replicas above 1 need results.redis_url: each replica answers for the "
                "queries of all, which it can only where answers are in Redis; set it, or leave search.replicas at 1"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order: arguments, then variables, then the file."""
        assert isinstance(env_settings, EnvSettingsSource)
        # `ESS_HTTP` may be another service's; pydantic would take it for the whole section, as JSON.
        known = set(known_variables())
        env_settings.env_vars = {n: value for n, value in env_settings.env_vars.items() if n.upper() in known}
        file = _config_file.get()
        from_file = () if file is None else (YamlConfigSettingsSource(settings_cls, yaml_file=file),)
        return (init_settings, env_settings, *from_file)


_BYTE_ORDER_MARK: Final = "\ufeff"


def _wrong_in_a_key(char: str) -> str | None:
    """Say what a character is that cannot stand in an HTTP header as a key; None for one that can."""
    if char.isspace() and char not in "\r\n":
        return "white space"
    if not char.isascii():
        return "not ASCII"
    return None if char.isprintable() else "a control character"


_config_file: ContextVar[Path | None] = ContextVar("_config_file", default=None)


def load(**overrides: Any) -> Settings:
    """Read the settings: `overrides` (None: not given) before `ESS_` variables before the file before defaults.

    Raises BadRequest that names every wrong value and every unknown name of the file, with the nearest known one. An
    unknown variable is logged as a warning, and changes nothing.
    """
    for warning in unknown_variables(os.environ):
        _log.warning(warning)
    file = _find_file(os.environ)
    if file is not None:
        _check_file(file)
    token = _config_file.set(file)
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise BadRequest(_explain(error)) from None
    except ValueError as error:  # SettingsError: a section's variable that should hold JSON
        raise BadRequest(f"the settings cannot be read: {error}") from None
    finally:
        _config_file.reset(token)


def known_variables() -> list[str]:
    """Name every `ESS_` variable there is, sorted."""
    return sorted([CONFIG_VARIABLE, *(PREFIX + NESTING.join(path).upper() for path in _paths(Settings))])


def settings_file() -> Path | None:
    """Give the file that `load` reads. Raises BadRequest for one that is not there, or not to be trusted."""
    return _find_file(os.environ)


def secrets_in(file: Path) -> list[str]:
    """Name the secrets that a settings file holds. Raises BadRequest for what is no settings file."""
    content = _check_file(file)
    return [".".join(path) for path, kind in _fields(Settings) if _is_secret(kind) and _at(content, path) is not None]


def _is_secret(kind: Any) -> bool:
    """Tell whether a value holds secrets, itself or in what it is a list of."""
    parts = (kind, *get_args(kind))
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    return SecretStr in parts or any(_is_secret(inner) for model in models for _, inner in _fields(model))


def _at(content: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    return (path for path, _ in _fields(model))


def _fields(model: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every setting's names, from the outermost section inwards, and its type."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (((name.rstrip("_"), *rest), kind) for rest, kind in _fields(field.annotation))
        else:
            yield (name,), field.annotation


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Say of each `ESS_` variable that is none of ours that it is ignored, and which one may have been meant."""
    known = known_variables()
    wrong = [name for name in sorted(environ) if name.startswith(PREFIX) and name.upper() not in known]
    return [f"the environment's {name} is no setting, and is ignored{_nearest(name.upper(), known)}" for name in wrong]


def _find_file(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise BadRequest(f"{CONFIG_VARIABLE} names {named}, which is not a file")
        return Path(named)
    here = Path(CONFIG_FILE)
    if not here.is_file():
        return None
    found = here.stat()
    # In a folder that many can write to, it may be anybody's, who would then choose where events go.
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
        raise BadRequest(
            f"{here.absolute()} is another user's, or others can write to it, and so is not read: make it yours alone, "
            f"or name it in {CONFIG_VARIABLE} if that is what you want"
        )
    return here


def _check_file(file: Path) -> Any:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # Only the place: the text itself may hold a secret.
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise BadRequest(f"{file} is not YAML{where}") from None
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from error
    if content is not None and not isinstance(content, dict):
        raise BadRequest(f"{file} must hold names with values, such as `http: {{port: 8000}}`")
    return content


def _explain(error: ValidationError) -> str:
    known = [".".join(path) for path in _paths(Settings)]
    sections = sorted({path.split(".", maxsplit=1)[0] for path in known if "." in path})
    told = []
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            told.append(f"{name} is unknown{_nearest(name, known + sections)}")
        else:
            told.append(f"{name}: {problem['msg']}")
    return "settings: " + "; ".join(told)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
