"""Simulated records: one kind of object, each rendered once to the bytes it is served as.

Made for many: a page costs next to nothing until something changes, and a million records of 900 bytes fit in 2 GB.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any, TypeAlias
from zlib import crc32

import msgspec

from connectors.simulation import SimClock

Fields: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One page of a list.

    `sort` is a key, descending with a leading `-`; None or an unheard-of key give an order that means nothing but
    stays the same. `keys` keeps only these keys of each record, `dropped` takes some away whatever `keys` says.
    `where` keeps records whose key has one of some values; `hidden` ids are left out.
    """

    offset: int = 0
    limit: int = 100
    sort: str | None = None
    keys: frozenset[str] | None = None
    dropped: frozenset[str] = frozenset()
    where: tuple[str, frozenset[str]] | None = None
    hidden: frozenset[str] = frozenset()


class Records:
    """The records of one kind, by id.

    What a reader is served may lag behind what was written (`late`): the record keeps its older form, or stays
    invisible, until the clock has passed the lag. Writers always see the latest form.
    """

    def __init__(self, clock: SimClock, *, id_key: str = "_id", cache_bytes: int = 256 << 20) -> None:
        self._clock = clock
        self._id_key = id_key
        self._bodies: dict[str, bytes] = {}
        self._raw: dict[str, bytes] = {}
        self._late: list[tuple[datetime, int, str, bytes | None]] = []
        self._unseen: dict[str, tuple[datetime, bytes | None]] = {}
        self._serial = count()
        self._orders: dict[tuple[Any, ...], list[str]] = {}
        self._indexes: dict[str, dict[Any, str]] = {}
        self._pages: OrderedDict[Query, bytes] = OrderedDict()
        self._room = self._cache_bytes = cache_bytes

    # -- writing

    def load(self, records: Iterable[Fields]) -> None:
        """Many records at once, as they have always been there."""
        key = self._id_key
        self._bodies.update((record[key], encode(record)) for record in records)
        self._changed()

    def put(self, record: Fields, *, late: timedelta = timedelta()) -> None:
        """Write one record. Raises `TypeError` for a float: amounts are given as int or Decimal."""
        no_float(record)
        self._write(record[self._id_key], encode(record), late)

    def remove(self, record_id: str, *, late: timedelta = timedelta()) -> None:
        """Take one record away."""
        self._write(record_id, None, late)

    def serve_raw(self, record_id: str, data: bytes | None) -> None:
        """Serve these exact bytes in the record's place, wherever it is shown; None serves the record again."""
        if data is None:
            self._raw.pop(record_id, None)
        else:
            self._raw[record_id] = data
        self._pages_changed()

    # -- reading

    def latest(self, record_id: str) -> Fields | None:
        """The record as the last writer left it."""
        body = self._newest(record_id)
        return None if body is None else decode(body)

    def served(self, record_id: str) -> bytes | None:
        """The record as a reader gets it now."""
        self._catch_up()
        if record_id not in self._bodies:
            return None
        return self._raw.get(record_id, self._bodies[record_id])

    def readable(self) -> Iterator[Fields]:
        """Every record as served now, by id, those served raw left out."""
        self._catch_up()
        for record_id in list(self._order(Query(sort=self._id_key))):
            body = self._bodies.get(record_id)
            if body is not None and record_id not in self._raw:
                yield decode(body)

    def ids(self) -> list[str]:
        """The ids of the latest records, those not yet visible included, in order."""
        gone = {key for key, (_, body) in self._unseen.items() if body is None}
        return sorted((self._bodies.keys() | self._unseen.keys()) - gone)

    def find(self, key: str, value: str) -> str | None:
        """The id of a latest record whose key has this value."""
        if key == self._id_key:
            return value if self.latest(value) is not None else None
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = {}
            for record_id in self.ids():
                index.setdefault(self._value(record_id, key), record_id)
        return index.get(value)

    def count(self, query: Query) -> int:
        """How many records the list of a query has, over all its pages."""
        self._catch_up()
        return len(self._order(query))

    def page(self, query: Query) -> bytes:
        """One page as a bare JSON array."""
        self._catch_up()
        body = self._pages.get(query)
        if body is not None:
            self._pages.move_to_end(query)
            return body
        ids = self._order(query)[query.offset : query.offset + query.limit]
        body = b"[" + b",".join([self._row(record_id, query) for record_id in ids]) + b"]"
        self._pages[query] = body
        self._room -= len(body)
        while self._room < 0:
            self._room += len(self._pages.popitem(last=False)[1])
        return body

    # -- inside

    def _write(self, record_id: str, body: bytes | None, late: timedelta) -> None:
        self._catch_up()
        for key, index in self._indexes.items():
            if index.get(value := self._value(record_id, key)) == record_id:
                del index[value]
            if body is not None:
                index.setdefault(_pick(key).decode(body).value, record_id)
        due = self._clock.now + late
        if record_id in self._unseen:
            due = max(due, self._unseen[record_id][0])  # writes to one record become visible in their order
        if due <= self._clock.now:
            self._show(record_id, body)
            return
        self._unseen[record_id] = (due, body)
        heapq.heappush(self._late, (due, next(self._serial), record_id, body))

    def _catch_up(self) -> None:
        while self._late and self._late[0][0] <= self._clock.now:
            _, _, record_id, body = heapq.heappop(self._late)
            self._show(record_id, body)
            if self._unseen.get(record_id, (self._clock.now,))[0] <= self._clock.now:
                self._unseen.pop(record_id, None)

    def _show(self, record_id: str, body: bytes | None) -> None:
        members = len(self._bodies)
        if body is None:
            self._bodies.pop(record_id, None)
            self._raw.pop(record_id, None)
        else:
            self._bodies[record_id] = body
        self._changed(same_members=body is not None and len(self._bodies) == members)

    def _changed(self, *, same_members: bool = False) -> None:
        """Forget what may be wrong now; the orders by id hold as long as the same records are there."""
        kept = {key: ids for key, ids in self._orders.items() if same_members and key[0] in (None, self._id_key)}
        self._orders = {key: ids for key, ids in kept.items() if key[1] is None}
        self._pages_changed()

    def _pages_changed(self) -> None:
        self._pages.clear()
        self._room = self._cache_bytes

    def _value(self, record_id: str, key: str) -> Any:
        body = self._newest(record_id)
        return None if body is None else _pick(key).decode(body).value

    def _newest(self, record_id: str) -> bytes | None:
        if record_id in self._unseen:
            return self._unseen[record_id][1]
        return self._bodies.get(record_id)

    def _order(self, query: Query) -> list[str]:
        name = (query.sort, query.where, query.hidden)
        if name not in self._orders:
            self._orders[name] = self._sorted(query)
        return self._orders[name]

    def _sorted(self, query: Query) -> list[str]:
        if query.where is not None or query.hidden:
            ids = self._order(Query(sort=query.sort))
            if query.where is not None:
                pick, allowed = _pick(query.where[0]), query.where[1]
                ids = [key for key in ids if str(pick.decode(self._bodies[key]).value) in allowed]
            return [key for key in ids if key not in query.hidden]
        if query.sort is None:
            return sorted(self._bodies, key=lambda key: crc32(key.encode()))
        key, descending = query.sort.removeprefix("-"), query.sort.startswith("-")
        ids = sorted(self._bodies)
        if key == self._id_key:
            return ids[::-1] if descending else ids
        pick = _pick(key)
        return sorted(ids, key=lambda one: _rank(pick.decode(self._bodies[one]).value), reverse=descending)

    def _row(self, record_id: str, query: Query) -> bytes:
        if record_id in self._raw:
            return self._raw[record_id]
        body = self._bodies[record_id]
        if query.keys is None and not query.dropped:
            return body
        parts = _shallow.decode(body)
        kept = {key: part for key, part in parts.items() if query.keys is None or key in query.keys}
        for key in query.dropped:
            kept.pop(key, None)
        return body if len(kept) == len(parts) else _plain(kept)


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as JSON: keys in their order, decimals as plain numbers."""
    return _encode(record)


def decode(data: bytes) -> Fields:
    """A record read back, numbers as int or Decimal."""
    return _decoder.decode(data)


def no_float(value: Any) -> None:
    """Raises `TypeError` if there is a float anywhere in a record: it would not be served as it was written."""
    if isinstance(value, float):
        raise TypeError(f"{value!r} is a float; give the simulator an int or a Decimal")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            no_float(item)


def _rank(value: Any) -> tuple[int, Any]:
    """Unlike values sort as in MongoDB: nothing, then numbers, then text, then the rest."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (3, value)
    if isinstance(value, int | Decimal):
        return (1, value)
    return (2, value) if isinstance(value, str) else (4, str(value))


class _Picked(msgspec.Struct):
    value: Any = None


@cache
def _pick(key: str) -> msgspec.json.Decoder[_Picked]:
    """A decoder that reads one key of a record and skips the rest."""
    struct = msgspec.defstruct("Picked", [("value", Any, msgspec.field(default=None, name=key))], bases=(_Picked,))
    return msgspec.json.Decoder(struct, float_hook=Decimal)


_encode = msgspec.json.Encoder(decimal_format="number").encode
_plain = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw])
