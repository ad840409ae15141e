"""Settings: `dealsync.toml` and the environment, read and checked as a whole before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connectors.registry import names
from connectors.registry import source as source_named
from connectors.signatures import hold
from connectors.source import Options, Source
from pipeline.faults import SettingsError
from pipeline.overrides import Override, applied, overrides
from pipeline.problems import told
from pipeline.secret import HOW, Secret
from pipeline.sections import (
    CREDENTIALS,
    Connection,
    Settings,
)

__all__ = ["FILE", "Connection", "Secret", "Settings", "found", "load"]

FILE = "dealsync.toml"
_LARGEST = 1024 * 1024
_Error = dict[str, Any]


class _Unchecked(Options):
    """Stands in for options that have been found wrong already, or whose source is unknown."""

    amount_unit: Any = "major"


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The configuration at `path`, else at `DEALSYNC_CONFIG`, else `dealsync.toml` in the working directory.

    Raises `SettingsError` with every problem there is, each naming the file or variable, the key, what was found and
    what would be right.
    """
    file = found(path, environ)
    document = _parsed(file)
    chosen, problems = overrides(environ, document)
    settings, errors = _checked(document, chosen, file, environ)
    if settings is None or problems:
        raise SettingsError([*problems, *(told(error, file, chosen) for error in errors)])
    for place, secret in _secrets(settings):
        secret.place = place
    return settings


def found(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Where the configuration is. Raises `SettingsError` when there is none."""
    said = path or (Path(environ["DEALSYNC_CONFIG"]) if environ.get("DEALSYNC_CONFIG", "").strip() else None)
    file = (said or Path(FILE)).absolute()
    if file.is_file():
        return file
    if file.exists():
        raise SettingsError([f"{file} is not a file; name the configuration itself"])
    by = "" if said is None else " (from --config)" if path else " (from DEALSYNC_CONFIG)"
    raise SettingsError(
        [f"there is no configuration at {file}{by}; `dealsync init` writes one, `--config` names another"]
    )


def _parsed(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise SettingsError([f"{file} is larger than 1 MB; is it the right file?"])
        return tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError([f"{file}: {error.strerror or 'cannot be read'}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{file} is not TOML: {error}"]) from None
    except RecursionError:
        raise SettingsError([f"{file}: the values are nested too deep"]) from None


def _checked(
    document: dict[str, Any], chosen: list[Override], file: Path, environ: Mapping[str, str]
) -> tuple[Settings | None, list[_Error]]:
    """The settings, or every error. An override that does not fit as text is tried once more as a TOML value."""
    literal: set[tuple[str, ...]] = set()
    while True:
        settings, errors = _validated(applied(document, chosen, literal), file, environ)
        places = [tuple(map(str, error["loc"])) for error in errors]
        again = {one.path for one in chosen if any(place[: len(one.path)] == one.path for place in places)} - literal
        if not again:
            return settings, errors
        literal |= again


def _validated(
    document: dict[str, Any], file: Path, environ: Mapping[str, str]
) -> tuple[Settings | None, list[_Error]]:
    context = {"environ": environ, "folder": file.parent}
    wrong: list[_Error] = [
        {"type": "extra_forbidden", "loc": (key,), "msg": "", "input": None}
        for key in ("file", "folder")
        if key in document
    ]
    connections = document.get("connections")
    for name, table in connections.items() if isinstance(connections, dict) else ():
        if isinstance(table, dict):
            source = source_named(table["source"]) if table.get("source") in names() else None
            table["options"], errors = _options(table.get("options", {}), source, ("connections", name, "options"))
            wrong += [*errors, *_credentials(table, source, ("connections", name))]
            wrong += _owners(table, source, ("connections", name, "owners"))
    try:
        settings = Settings.model_validate(
            {"store": {}, **document, "file": file, "folder": file.parent}, context=context
        )
    except ValidationError as error:
        return None, [*_errors(error), *wrong]
    wrong += _webhooks(settings)
    return (None, wrong) if wrong else (settings, [])


def _credentials(table: Mapping[str, Any], source: Source | None, place: tuple[str, ...]) -> Iterator[_Error]:
    """A connection has exactly the credentials of one of the ways its source lets somebody in."""
    given = {name for name in CREDENTIALS if name in table}
    if source is None or any(given == set(way) for way in source.credentials):
        return
    if foreign := given - {name for way in source.credentials for name in way}:
        problem = f"{source.name} takes no {' and no '.join(sorted(foreign))}; remove it"
    else:
        right = " or ".join(" and ".join(way) for way in source.credentials)
        problem = f"{source.name} needs {right}{', not all of them' if given else ''}; {HOW}"
    yield {"type": "value_error", "loc": place, "msg": problem, "input": None}


def _owners(table: Mapping[str, Any], source: Source | None, place: tuple[str, ...]) -> Iterator[_Error]:
    """Owners go by an address only where the source shows one: elsewhere every single one would be unresolved."""
    if source is not None and table.get("owners") == "email" and not source.shows_emails:
        right = 'write "source_id", or name them in a table: { file = "owners.csv" }'
        problem = f"{source.name} shows no e-mail address of its users; {right}"
        yield {"type": "value_error", "loc": place, "msg": problem, "input": None}


def _webhooks(settings: Settings) -> Iterator[_Error]:
    """A webhook under whose settings no delivery could ever prove itself would look like a source that is silent."""
    for name, connection in settings.connections.items():
        if (webhook := connection.webhook) is None:
            continue
        try:
            hold(webhook.over(source_named(connection.source).webhooks), webhook.workspace_id is not None)
        except ValueError as error:
            place = ("connections", name, "webhook")
            yield {"type": "value_error", "loc": place, "msg": str(error), "input": None}


def _options(given: Any, source: Source | None, place: tuple[str, ...]) -> tuple[Options, list[_Error]]:
    """The options of a connection, by its source's own model."""
    if not isinstance(given, dict):
        return _Unchecked(), [{"type": "model_type", "loc": place, "msg": "", "input": given}]
    if source is None:
        return _Unchecked(), []
    try:
        options = source.options.model_validate(given)
    except ValidationError as error:
        return _Unchecked(), [{**one, "loc": (*place, *one["loc"]), "model": source.options} for one in _errors(error)]
    assert isinstance(options, Options)
    return options, []


def _errors(error: ValidationError) -> list[_Error]:
    return [dict(one) for one in error.errors(include_url=False)]


def _secrets(settings: Settings) -> Iterator[tuple[str, Secret]]:
    """Every secret of the configuration with the key it stands under."""
    if settings.ledger.api_key is not None:
        yield "ledger.api_key", settings.ledger.api_key
    for number, token in enumerate(settings.serve.api_tokens):
        yield f"serve.api_tokens[{number}]", token.secret
    for name, connection in settings.connections.items():
        for key in CREDENTIALS:
            if isinstance(value := getattr(connection, key), Secret):
                yield f"connections.{name}.{key}", value
        for number, secret in enumerate(connection.webhook.secrets if connection.webhook else ()):
            yield f"connections.{name}.webhook.secrets[{number}]", secret
        for number, secret in enumerate(connection.webhook.path_segments if connection.webhook else ()):
            yield f"connections.{name}.webhook.path_segments[{number}]", secret
