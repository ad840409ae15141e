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


@cache
def sources() -> dict[str, Source]:
    """Every source by its name, in alphabetical order."""
    return discover(connectors)


def source(name: str) -> Source:
    """The source of that name; raises `Misconfigured` that names the nearest known one."""
    known = sources()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise Misconfigured(f"{name[:60]!r} is no source; {advice}")


def discover(package: ModuleType) -> dict[str, Source]:
    """The sources among a package's folders.

    Raises `TypeError` for a folder that declares no `SOURCE`, and `ValueError` for one not named after its source.
    """
    found = {}
    for folder in sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg):
        declared = getattr(importlib.import_module(f"{package.__name__}.{folder}"), "SOURCE", None)
        if not isinstance(declared, Source):
            raise TypeError(f"{package.__name__}/{folder} declares no SOURCE, so it is no source")
        if declared.name != folder:
            raise ValueError(f"{package.__name__}/{folder} declares a source named {declared.name!r}; use one name")
        found[folder] = declared
    return found
