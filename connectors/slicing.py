"""Slicing: a page's bytes become records without being parsed, and a bad record never costs its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from connectors.faults import Unintelligible
from connectors.source import Record, Spoiled
from connectors.times import are_instants, instant
from deals.identity import digest

MAX_RECORD = 1024 * 1024
"""A record with more bytes than this is spoiled: nobody's deal is that large, and we keep records for ever."""

KEPT_OF_TOO_LARGE = 64 * 1024
MAX_ID = 200
"""Longer ids could not be named in the ledger (contracts/openquota.md section 3.1: 255 characters with prefix)."""

_raws = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOM = b"\xef\xbb\xbf"
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_CUT = re.compile(_TEXT + rb'|[\[\]{},"]', re.DOTALL)
_TOLD = re.compile(_TEXT + rb"|[\[\]{}:,]", re.DOTALL)


class Sliced(NamedTuple):
    """The rows of one page. `keys` names every row in the page's order: its id, or its bytes where it has none."""

    records: list[Record]
    spoiled: list[Spoiled]
    keys: list[str]


class Slicer:
    """Cuts the pages of one kind of record.

    `id_key` and `version_key` are the record's keys for its id and for the time of its last change. With `counted`
    the latter is a whole number that grows with each change: it becomes text of twelve digits, so that it compares.
    """

    def __init__(self, kind: str, *, id_key: str, version_key: str, counted: bool = False) -> None:
        self._kind = kind
        self._id_key = id_key
        self._version_key = version_key
        self._counted = counted
        head = msgspec.defstruct(
            "Head",
            [("id", str), ("version", (int if counted else str) | None, None)],
            rename={"id": id_key, "version": version_key},
            gc=False,
        )
        self._head: msgspec.json.Decoder[Any] = msgspec.json.Decoder(head)
        self._heads: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[head])  # type: ignore[valid-type]

    def page(self, body: bytes, *, not_after: str) -> Sliced:
        """The records of a page that is a bare JSON array.

        A version later than `not_after` (ISO 8601, ms, Z) is not trusted and becomes None: one record stamped in 2099
        must not outrank its own later changes. Raises `Unintelligible` when the page is no array or cannot be cut.
        """
        body = body.removeprefix(_BOM)
        try:
            if not body.isascii():
                body.decode()
            raws, heads = _raws.decode(body), self._heads.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self._one_by_one(body, not_after)
        if not raws or (len(body) > MAX_RECORD and any(len(memoryview(raw)) > MAX_RECORD for raw in raws)):
            return self._one_by_one(body, not_after)
        ids = [head.id for head in heads]
        together = "".join(ids)
        if not all(ids) or not together.isprintable() or " " in together or max(map(len, ids)) > MAX_ID:
            return self._one_by_one(body, not_after)
        told = [head.version for head in heads]
        versions = list(map(counted, told)) if self._counted else _versions(told, not_after)
        return Sliced(list(map(Record, ids, versions, map(bytes, raws), repeat(self._kind))), [], ids)

    def record(self, body: bytes, *, not_after: str) -> Record | Spoiled:
        """One record by itself, as a get-one brings it."""
        return self._record(body.removeprefix(_BOM).strip(), not_after)

    def _one_by_one(self, body: bytes, not_after: str) -> Sliced:
        sliced = Sliced([], [], [])
        for raw in _cut(body):
            row = self._record(raw, not_after)
            if isinstance(row, Record):
                sliced.records.append(row)
                sliced.keys.append(row.source_id)
            else:
                sliced.spoiled.append(row)
                sliced.keys.append(row.source_id or digest(raw).hex())
        return sliced

    def _record(self, raw: bytes, not_after: str) -> Record | Spoiled:
        if len(raw) > MAX_RECORD:
            return self._spoiled(raw, "TOO_LARGE", _too_large(len(raw)))
        try:
            raw.decode()
            return self._well(raw, self._head.decode(raw), not_after)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self._ailing(raw, not_after)

    def _well(self, raw: bytes, head: Any, not_after: str) -> Record | Spoiled:
        if not _is_id(head.id):
            return self._ailing(raw, not_after)
        return Record(head.id, self._version(head.version, not_after), raw, self._kind)

    def _ailing(self, raw: bytes, not_after: str) -> Record | Spoiled:
        try:
            raw.decode()
            fields = _object.decode(raw)
        except UnicodeDecodeError as error:
            return self._spoiled(raw, "RECORD_SHAPE", f"the record is not UTF-8 from its byte {error.start} on")
        except RecursionError:
            return self._spoiled(raw, "RECORD_SHAPE", "the record is nested too deeply to be read")
        except msgspec.ValidationError:
            return self._spoiled(raw, "RECORD_SHAPE", f"the record is {_looks(raw)}; an object was expected")
        except msgspec.DecodeError as error:
            return self._spoiled(raw, "RECORD_SHAPE", f"the record is not JSON: {error}")
        source_id = self._value(fields, self._id_key)
        if source_id is None or source_id == "":
            return self._spoiled(raw, "NO_ID", f"the record has no {self._id_key}, so it cannot be told from others")
        if not isinstance(source_id, str) or not _is_id(source_id):
            wrong = f"the record's {self._id_key} is no id: text of 1 to {MAX_ID} printable characters was expected"
            return self._spoiled(raw, "BAD_ID", wrong)
        return Record(source_id, self._version(self._value(fields, self._version_key), not_after), raw, self._kind)

    def _version(self, given: object, not_after: str) -> str | None:
        if self._counted:
            return counted(given)
        version = instant(given)
        return version if version is not None and version <= not_after else None

    def _value(self, fields: dict[str, msgspec.Raw], key: str) -> Any:
        return msgspec.json.decode(fields[key]) if key in fields else None

    def _spoiled(self, raw: bytes, reason: str, message: str) -> Spoiled:
        return Spoiled(_told_id(raw, self._id_key), raw[:KEPT_OF_TOO_LARGE], reason, message)


def counted(version: object) -> str | None:
    """A version that counts, as text of twelve digits; None for whatever is no whole number from 0 on."""
    if type(version) is float and version.is_integer():
        version = int(version)
    return f"{version:012d}" if type(version) is int and 0 <= version < 10**12 else None


def _versions(given: list[str | None], not_after: str) -> list[str | None]:
    """The versions of a page, judged all at once where they are all in the usual form."""
    told = [version for version in given if version is not None]
    if are_instants(told) and max(told, default="") <= not_after:
        return given
    read = map(instant, given)
    return [version if version is not None and version <= not_after else None for version in read]


def _is_id(text: str) -> bool:
    return 0 < len(text) <= MAX_ID and text.isprintable() and text == text.strip()


def _too_large(size: int) -> str:
    return (
        f"the record has {size:,} bytes, more than the {MAX_RECORD:,} allowed; "
        f"only its first {KEPT_OF_TOO_LARGE:,} are kept"
    )


_SHAPES = {b"[": "a list", b'"': "text", b"n": "null", b"t": "true", b"f": "false"}


def _looks(raw: bytes) -> str:
    return _SHAPES.get(raw[:1], "a number")


def _cut(body: bytes) -> Iterator[bytes]:
    try:
        yield from map(bytes, _raws.decode(body))
    except (msgspec.DecodeError, RecursionError):
        yield from _elements(body)


def _elements(body: bytes) -> Iterator[bytes]:
    """The elements of an array, cut at its own commas; what lies inside an element may be anything but unbalanced."""
    start = len(body) - len(body.lstrip(b" \t\r\n"))
    if body[start : start + 1] != b"[":
        raise Unintelligible(f"the answer is {_shape(body[start:])}; a list of records was expected")
    depth, begun = 0, start + 1
    for token in _CUT.finditer(body, start):
        mark = token.group()
        if mark == b'"':
            break
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == 0:
                yield from _last(body, begun, token.start())
                return
        elif mark == b"," and depth == 1:
            yield body[begun : token.start()].strip()
            begun = token.end()
    raise Unintelligible(f"the list of records breaks off: {len(body):,} bytes came and its end is missing")


def _last(body: bytes, begun: int, end: int) -> Iterator[bytes]:
    if body[end : end + 1] != b"]" or body[end + 1 :].strip():
        raise Unintelligible(f"the list of records is not JSON: something follows its end at byte {end:,}")
    if element := body[begun:end].strip():
        yield element


def _shape(body: bytes) -> str:
    return {b"": "empty", b"{": "one object", b"<": "a page of markup"}.get(body[:1]) or _looks(body)


def _told_id(raw: bytes, id_key: str) -> str | None:
    """The id of a record that cannot be read, where its outermost object still says it; None when in doubt."""
    wanted, depth, before, found = b'"%b"' % id_key.encode(), 0, b"", None
    for token in _TOLD.finditer(raw):
        mark = token.group()
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        elif depth == 1 and mark.startswith(b'"') and before == wanted + b":":
            if found is not None:
                return None
            found = mark
        before = before + mark if mark == b":" and before == wanted else mark
    return _read_id(found)


def _read_id(found: bytes | None) -> str | None:
    try:
        text = msgspec.json.decode(found, type=str) if found else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return text if _is_id(text) else None
