"""Overrides: environment variables that take the place of keys of the configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.nearest import meant

PREFIX = "DEALSYNC__"
Path = tuple[str, ...]


class Given(str):
    """The text of a variable that takes the place of a key; it remembers which variable that was."""

    __slots__ = ("variable",)
    variable: str

    def literal(self) -> Any:
        """The text read as a TOML value (a number, a list, true), or as it is when it is none."""
        try:
            return tomllib.loads(f"value = {self}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            return self


@dataclass(frozen=True, slots=True)
class Override:
    """One variable and the key path it names."""

    variable: str
    path: Path
    text: str

    def given(self) -> Given:
        """The text as it is."""
        given = Given(self.text)
        given.variable = self.variable
        return given


def overrides(environ: Mapping[str, str], document: Mapping[str, Any]) -> tuple[list[Override], list[str]]:
    """The overrides among `environ`, and what is wrong with some; an empty variable counts as unset.

    `DEALSYNC__CONNECTIONS__PLANHAT_EU__BASE_URL` names `connections.planhat-eu.base_url`: the connection is found among
    those of `document`, as `-` is written `_`.
    """
    tables = document.get("connections")
    names = list(tables) if isinstance(tables, dict) else []
    found: dict[Path, Override] = {}
    problems = []
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(PREFIX) or not text.strip():
            continue
        try:
            path = _path(variable.removeprefix(PREFIX), names)
            if path in found:
                raise ValueError(f"names the same key as {found[path].variable}; unset one of them")
            found[path] = Override(variable, path, text)
        except ValueError as problem:
            problems.append(f"environment variable {variable}: {problem}")
    return list(found.values()), problems


def applied(document: Mapping[str, Any], chosen: list[Override], literal: set[Path]) -> dict[str, Any]:
    """The document with the overrides in place; those of the paths `literal` read as TOML values."""
    whole: dict[str, Any] = _copied(document)
    for override in sorted(chosen, key=lambda one: len(one.path)):
        table = whole
        for key in override.path[:-1]:
            below = table.get(key)
            if not isinstance(below, dict):
                below = table[key] = {}
            table = below
        table[override.path[-1]] = override.given().literal() if override.path in literal else override.given()
    return whole


def _path(rest: str, connections: list[str]) -> Path:
    section, _, below = rest.partition("__")
    if section.upper() != "CONNECTIONS" or not below:
        return _keys(rest)
    candidates = {
        ("connections", name, *_keys(below[len(name) + 2 :]))
        for name in connections
        if below.upper().startswith(f"{name.upper().replace('-', '_')}__") and len(below) > len(name) + 2
    }
    if len(candidates) > 1:
        readings = " and ".join(sorted(".".join(path) for path in candidates))
        raise ValueError(f"is ambiguous, it may name {readings}; write the key into the file instead")
    if candidates:
        return candidates.pop()
    wanted = below.partition("__")[0].lower().replace("_", "-")
    raise ValueError(f"there is no connection {wanted!r} in the file; {meant(wanted, connections)}")


def _keys(rest: str) -> Path:
    keys = tuple(rest.lower().split("__"))
    if not all(keys):
        raise ValueError("has an empty part; write DEALSYNC__SECTION__KEY")
    return keys


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, Mapping) else value
