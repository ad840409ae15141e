"""Envelopes: a page whose rows lie under a key of an object is opened without parsing the rows."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from connectors.faults import Unintelligible

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOM = b"\xef\xbb\xbf"
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_MARK = re.compile(_TEXT + rb'|[\[\]{}:,"]', re.DOTALL)


class Opened(NamedTuple):
    """An envelope's parts: each top-level key with the bytes of its value, as they came."""

    parts: dict[str, bytes]

    def rows(self, *keys: str) -> bytes:
        """The bytes under the first of these keys that the envelope has, for a `Slicer`; raises `Unintelligible`."""
        for key in keys:
            if key in self.parts:
                return self.parts[key]
        raise Unintelligible(f"the answer has no {' or '.join(keys)}; an object with a list of records was expected")


def opened(body: bytes) -> Opened:
    """The parts of an answer that is one JSON object.

    A row that is not JSON (a NaN, a broken escape) costs itself only: then the object is cut at its own commas. Raises
    `Unintelligible` when the answer is no object, or breaks off.
    """
    body = body.removeprefix(_BOM)
    try:
        body.decode()
        return Opened({key: bytes(value) for key, value in _object.decode(body).items()})
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Opened(_cut(body.strip()))


def _cut(body: bytes) -> dict[str, bytes]:
    if not body.startswith(b"{"):
        raise Unintelligible("the answer is no JSON object; an object with a list of records was expected")
    parts: dict[str, bytes] = {}
    depth, key, text, begun = 0, None, b"", 0
    for token in _MARK.finditer(body):
        mark = token.group()
        if mark == b'"':
            break
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        if depth <= 1 and mark in b",}" and key is not None and (depth == 0 or mark == b","):
            parts[key], key = body[begun : token.start()].strip(), None
        if depth == 0:
            if body[token.end() :]:
                raise Unintelligible(f"something follows the end of the answer at byte {token.end():,}")
            return parts
        if depth == 1 and mark == b":" and key is None:
            key, begun = _name(text), token.end()
        text = mark
    raise Unintelligible(f"the answer breaks off: {len(body):,} bytes came and its end is missing")


def _name(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unintelligible("a key of the answer is not JSON text") from None
