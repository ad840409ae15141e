"""Addresses: the URLs of the configuration, checked, and their passwords hidden from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationInfo

from pipeline.nearest import meant
from pipeline.redaction import guard

_BROKERS = ("redis", "rediss", "amqp", "amqps", "memory")


def store_address(value: Any, info: ValidationInfo) -> str:
    """The store's URL; an SQLite file relative to the configuration becomes absolute."""
    scheme, rest = _split(value, "sqlite:///dealsync.db or postgresql://user@host/name")
    dialect = scheme.partition("+")[0]
    if dialect not in ("sqlite", "postgresql"):
        raise ValueError(f"the database {scheme[:20]!r} is not supported; {meant(dialect, ('sqlite', 'postgresql'))}")
    if dialect == "postgresql":
        if not rest.partition("@")[2] and rest.startswith("/") and "host=" not in rest:
            raise ValueError("the address names no host; write postgresql://user@host/name")
        return str(value)
    file = rest[1:].partition("?")[0] if rest.startswith("/") else ""
    if not file or file == ":memory:":
        raise ValueError("the store must be a file, it has to outlast the command; write sqlite:///dealsync.db")
    folder: Path = (info.context or {}).get("folder", Path())
    return f"{scheme}:///{folder / file}{rest[1 + len(file) :]}"


def broker_address(value: Any) -> str:
    """`none`, or the URL of a broker."""
    if isinstance(value, str) and value.strip().lower() == "none":
        return "none"
    scheme, _ = _split(value, "none, redis://host:6379/0 or amqp://host")
    if scheme not in _BROKERS:
        raise ValueError(f"the broker {scheme[:20]!r} is not supported; {meant(scheme, _BROKERS)}")
    return str(value)


def base_address(value: Any) -> str:
    """The URL of an API, as the connectors' transport takes it."""
    from connectors.faults import Misconfigured
    from connectors.transport import base_url

    _split(value, "https://api.example.com")
    try:
        return str(base_url(value))
    except Misconfigured as fault:
        raise ValueError(str(fault).removeprefix("base_url ")) from None


def _split(value: Any, right: str) -> tuple[str, str]:
    """Scheme and rest of a URL, whose password is guarded from here on."""
    if not isinstance(value, str):
        raise ValueError(f"write an address as text, like {right}")  # noqa: TRY004 - pydantic collects ValueErrors
    scheme, found, rest = value.partition("://")
    if not found or not scheme or any(char.isspace() for char in value):
        raise ValueError(f"this is no address; write {right}")
    _, _, password = rest.partition("/")[0].rpartition("@")[0].partition(":")
    for secret in (password, unquote(password)):
        guard(secret)
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise ValueError(
            "the address cannot be read; percent-encode special characters in the user and password"
        ) from None
    return scheme.lower(), rest
