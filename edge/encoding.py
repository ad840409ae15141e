"""Encoding: JSON as scripts rely on it, the same on stdout and over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def encoded(value: Any, indent: int = 0) -> bytes:
    """A document: a decimal is a number there, exactly as it is stored."""
    compact = _encoder.encode(value)
    return msgspec.json.format(compact, indent=indent) if indent else compact
