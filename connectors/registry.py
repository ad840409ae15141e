"""Registry: the sources that exist, found by their folders, so that adding one edits nothing else."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from types import ModuleType

import connectors
from connectors.faults import Misconfigured
from connectors.source import Source


def sources() -> dict[str, Source]:
    """Every source by its name, in alphabetical order."""
    return {name: source(name) for name in names()}


@cache
def names(package: ModuleType = connectors) -> tuple[str, ...]:
    """The names of the sources that exist, in alphabetical order; none of them is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg))


def source(name: str) -> Source:
    """The source of that name; raises `Misconfigured` that names the nearest known one.

    Only the one asked for is imported: a command that reads one connection does not start with all of them.
    """
    known = names()
    if name in known:
        return declared(connectors, name)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise Misconfigured(f"{name[:60]!r} is no source; {advice}")


def declared(package: ModuleType, folder: str) -> Source:
    """What a folder of a package declares.

    Raises `TypeError` when it declares no `SOURCE`, and `ValueError` when that is not named after the folder.
    """
    found = getattr(importlib.import_module(f"{package.__name__}.{folder}"), "SOURCE", None)
    if not isinstance(found, Source):
        raise TypeError(f"{package.__name__}/{folder} declares no SOURCE, so it is no source")
    if found.name != folder:
        raise ValueError(f"{package.__name__}/{folder} declares a source named {found.name!r}; use one name")
    return found
