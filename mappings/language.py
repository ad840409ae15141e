"""Language: a table's text becomes a frozen mapping, or a list of everything that is wrong with it."""

from __future__ import annotations

import collections.abc as abc
import re
import tomllib
import typing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError

from deals.identity import canonical, digest
from mappings.grammar import KindMapping
from mappings.meaning import meaning
from mappings.outcome import shown
from mappings.soundness import unsound
from mappings.vocabulary import near

LARGEST = 1_000_000
"""A table has at most so many bytes: it is written by people."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_EXPECTED = {
    "string_type": "a text in quotes would be right",
    "bool_type": "true or false would be right",
    "tuple_type": "a text in quotes, or a list of them, would be right",
    "mapping_type": "a table would be right",
    "model_type": "a table would be right",
    "too_short": "at least one key must be named",
}


class MappingError(ValueError):
    """A table cannot be used. `problems` lists everything wrong with it; each entry says where and what to do."""

    def __init__(self, problems: abc.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Mapping:
    """A parsed table: how the records of one source are read, kind by kind. `text` is the table as it was given."""

    source: str
    kinds: abc.Mapping[str, KindMapping]
    text: str

    @cached_property
    def version(self) -> str:
        """The digest (hex SHA-256) of what the table means.

        Two tables that read every record alike have one version: comments, order, defaults written out and the
        wording of reasons do not count.
        """
        return digest(canonical({"source": self.source, "kinds": meaning(self.source, self.kinds)})).hex()

    def fields(self, kind: str) -> frozenset[str]:
        """The top-level record keys that the table claims for a kind; none for a kind it has no section for."""
        return self.kinds[kind].fields() if kind in self.kinds else frozenset()


def parse(text: str, *, name: str) -> Mapping:
    """A table in TOML as a mapping. `name` is the file it came from, for the messages.

    Raises `MappingError` with every problem found: each names the file, the key path (the line and column where the
    text is no TOML), what was found and what would be right.
    """
    data = _toml(text, name)
    source = data.pop("source", None)
    problems = []
    if not isinstance(source, str) or not _NAME.fullmatch(source):
        what = "is missing" if source is None else f"found {shown(source)}"
        problems.append(f'{name}: source: {what}; the source\'s name would be right, such as source = "planhat"')
        source = "source"
    if not data:
        problems.append(f"{name}: the table reads no kind of record; a section such as [deals] is missing")
    kinds: dict[str, KindMapping] = {}
    for kind, section in data.items():
        found = _kind(kind, section)
        if isinstance(found, KindMapping):
            kinds[kind] = found
            found = [f"{kind}.{problem}" for problem in unsound(source, found)]
        problems += [f"{name}: {problem}" for problem in found]
    if problems:
        raise MappingError(problems)
    return Mapping(source, kinds, text)


def _toml(text: str, name: str) -> dict[str, Any]:
    try:
        if len(text.encode()) > LARGEST:
            raise MappingError([f"{name}: the table is larger than {LARGEST:,} bytes; a table is written by people"])
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise MappingError([f"{name}: {_toml_fault(str(error))}"]) from None
    except UnicodeEncodeError:
        raise MappingError([f"{name}: the text is not valid Unicode; UTF-8 would be right"]) from None
    except RecursionError:
        raise MappingError([f"{name}: the text is nested too deeply to be a table"]) from None
    except MappingError:
        raise
    except (ValueError, OverflowError) as error:
        raise MappingError([f"{name}: the text is not TOML: {error}"]) from None


def _toml_fault(message: str) -> str:
    for sign, advice in {
        "Cannot overwrite": "a key or word stands there twice; keep one",
        "Cannot declare": "a section stands there twice; put both under one heading",
        "mutate": "a section in braces is opened again; write it out as one section",
    }.items():
        if sign in message:
            return f"{message}: {advice}"
    return f"the text is not TOML: {message}"


def _kind(kind: str, section: Any) -> KindMapping | list[str]:
    """One section of the table; its problems where it cannot be read."""
    if not isinstance(section, dict):
        return [f"{kind}: found {shown(section)}; besides `source` a table has one section per kind, such as [deals]"]
    if not _NAME.fullmatch(kind):
        return [f"{shown(kind)}: a kind of record is named in a-z 0-9 _, such as [deals]"]
    try:
        return KindMapping.model_validate(section)
    except ValidationError as error:
        return [f"{_where((kind, *fault['loc']))}: {_what(fault)}" for fault in error.errors(include_url=False)]


def _where(loc: tuple[int | str, ...]) -> str:
    parts = [part for part in loc if part != "[key]"]
    return ".".join(str(part) if re.fullmatch(r"[A-Za-z0-9_-]+", str(part)) else shown(part) for part in parts)


def _what(fault: Any) -> str:
    kind, found = fault["type"], fault["input"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        known = _known(fault["loc"][:-1])
        return f"there is no such key here; known: {', '.join(known)}{near(str(fault['loc'][-1]), known)}"
    if kind == "literal_error":
        options = [option.strip("'") for option in re.split(", | or ", fault["ctx"]["expected"])]
        return f"found {shown(found)}; one of {', '.join(options)} would be right{near(str(found)[:100], options)}"
    if kind == "value_error":
        return f"found {shown(found)}; {fault['ctx']['error']}"
    return f"found {shown(found)}; {_EXPECTED.get(kind, fault['msg'])}"


def _known(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand at a place of a section."""
    model: type[BaseModel] = KindMapping
    for part in loc:
        for name, field in model.model_fields.items():
            if (field.alias or name) == part:
                model = _model_in(field.annotation) or model
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
