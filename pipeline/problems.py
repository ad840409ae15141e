"""Problems: what pydantic found wrong with a configuration, as one line a person can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.nearest import meant
from pipeline.overrides import Override
from pipeline.redaction import escaped, scrub, telling
from pipeline.sections import section

_RIGHT = {
    "string_type": "write text in quotes",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "int_parsing": "write a whole number",
    "float_type": "write a number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "list_type": "write a list, like [ … ]",
    "dict_type": "write a table",
    "model_type": "write a table",
    "is_instance_of": "write a table",
    "string_too_short": "write at least one character",
    "too_short": "write at least one entry",
}


def told(error: dict[str, Any], file: Path, overrides: list[Override]) -> str:
    """One error as `place: key: what was found; what would be right`. A value that may be a secret is not repeated."""
    keys = [str(part) for part in error["loc"] if part != "[key]"]
    place = next((one.variable for one in overrides if _from(one.path, tuple(keys), error["type"])), None)
    where = f"environment variable {place}" if place else str(file)
    path = ".".join(keys).replace(".[", "[")
    return escaped(scrub(f"{where}: {path + ': ' if path else ''}{_what(error, keys)}"))


def _from(path: tuple[str, ...], keys: tuple[str, ...], kind: str) -> bool:
    """Whether an override brought the value at `keys`, or the unknown table there."""
    return keys[: len(path)] == path or (kind == "extra_forbidden" and path[: len(keys)] == keys)


def _what(error: dict[str, Any], keys: list[str]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"unknown key; {meant(keys[-1], _known(error, keys))}"
    if kind == "missing":
        return f"is missing; {_EXAMPLES.get(keys[-1], 'add it')}"
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        return f"{_found(error, keys)}; use {error['ctx']['expected']}"
    if kind == "string_pattern_mismatch":
        rule = (
            "a to z, 0 to 9 and - inside" if "connections" in keys and len(keys) == 2 else "letters, digits and . _ -"
        )
        return f"{_found(error, keys)}; use {rule}, at most 64 characters"
    message = str(error["msg"]).replace("Input should", "it should")
    return f"{_found(error, keys)}; {_RIGHT.get(kind, message[:1].lower() + message[1:])}"


_EXAMPLES = {
    "source": 'add source = "planhat"',
    "base_url": 'add base_url = "https://api.example.com"',
    "secrets": 'add secrets = [{ env = "NAME" }]',
    "amount_unit": 'add amount_unit = "major" or "minor": whether 1250 means 1250.00 or 12.50',
}


def _known(error: dict[str, Any], keys: list[str]) -> list[str]:
    model = error.get("model") or section(tuple(keys[:-1]))
    return [name for name in model.model_fields if name not in ("file", "folder")] if model else []


def _found(error: dict[str, Any], keys: list[str]) -> str:
    if any(telling(key) for key in keys) or keys[-1:] in (["secrets"], ["path_segments"]):
        return "the value does not fit"
    value = error.get("input")
    if isinstance(value, dict):
        return "found a table"
    if isinstance(value, list):
        return "found a list"
    if isinstance(value, bool):
        return f"found {str(value).lower()}"
    shown = repr(str(value)) if isinstance(value, str) else str(value)
    return f"found {shown[:64]}{'…' if len(shown) > 64 else ''}"
