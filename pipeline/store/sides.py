"""Sides: what source, projection and ledger hold of a connection, laid side by side.

The source's side is laid down in the store, page by page, and outlives the run that reads it: that is what takes hours.
The other two are temporary tables of one database session, and go with it, however it ends. A million deals cost
disk, not memory. Amounts of any size are added up exactly on both databases: each is stored as three numbers of twelve
digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

from sqlalchemy import Boolean, Column, Connection, MetaData, Table, Text, delete, func, select, text

from connectors.source import Record
from deals.identity import decode_json, digest
from ledger import bulk
from pipeline.compare import Believed, Face, Read, Sight, face
from pipeline.store.session import Store, translated
from pipeline.store.side_tables import of_every_side, of_the_source, source_sides

BUCKETS = 256
"""Into so many parts each month is cut: only parts whose digests differ are looked at deal by deal."""

_LIMB = 10**12

_temporary = MetaData()

source = Table("source_side", MetaData(), *of_every_side(), *of_the_source())
"""One connection's part of `source_sides`, as a view of the session."""


def _side(name: str, *more: Column[Any]) -> Table:
    return Table(name, _temporary, *of_every_side(), *more, prefixes=["TEMPORARY"])


projection = _side(
    "projection_side",
    *(Column(name, Text) for name in ("version", "observed_at")),
    *(Column(name, Boolean) for name in ("waits", "moved", "remap", "hinted")),
)
ledger = _side("ledger_side", Column("deal_id", Text))

_suspects = Table("suspects", _temporary, Column("source_id", Text, primary_key=True), prefixes=["TEMPORARY"])


class Group(NamedTuple):
    """How many living deals of one side are alike in month, currency, stage and owner, and what they add up to."""

    face: Face
    deals: int


class Original(NamedTuple):
    """A record as it was read, when it was asked for, and whether it can be mapped."""

    record: Record
    observed_at: str
    readable: bool


class Listed(NamedTuple):
    """A deal as the ledger lists it: its flat state, whether it lives, and the ledger's own id of it."""

    source_id: str
    state: str
    alive: bool
    deal_id: str


def row(source_id: str, state: str | None, alive: bool, currency: str) -> tuple[Any, ...]:
    """The columns that all sides share. `currency` is the ledger's, for states that name none."""
    bucket = crc32(source_id.encode()) % BUCKETS
    if state is None:
        return (source_id, None, alive, "", bucket, 0, 0, 0, "", "", "", 0, 0, 0)
    shown = face(decode_json(state), currency)
    high, low = divmod(shown.amount_cents or 0, _LIMB)
    high, middle = divmod(high, _LIMB)
    name = digest(f"{len(source_id)}:{source_id}{state}".encode())
    parts = (int.from_bytes(name[place : place + 5], "big") for place in (0, 5, 10))
    alike = (shown.currency, shown.stage, shown.owner)
    return (source_id, state, alive, shown.month, bucket, *parts, *alike, high, middle, low)


def lay(tx: Connection, connection_id: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """Lay down rows of the source's side in the store; a deal that comes again replaces itself."""
    latest = {row[0]: row for row in rows}
    bulk.upsert(tx, source_sides, [(connection_id, *row) for row in latest.values()])


def clear(tx: Connection, connection_id: int, limit: int) -> int:
    """Take away rows of the source's side in the store, at most `limit` of them; how many those were."""
    mine = source_sides.c.connection_id == connection_id
    some = select(source_sides.c.source_id).where(mine).limit(limit)
    return tx.execute(delete(source_sides).where(mine, source_sides.c.source_id.in_(some))).rowcount


class Sides:
    """The three sides of one comparison. Use `opened`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, side: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Lay down rows of the projection's side or the ledger's; a deal that comes again replaces itself."""
        latest = {row[0]: row for row in rows}
        with self._transaction() as tx:
            bulk.upsert(tx, side, list(latest.values()))

    def count(self, side: Table) -> int:
        """How many deals a side holds, living or not."""
        with self._transaction() as tx:
            return int(tx.execute(select(func.count()).select_from(side)).scalar_one())

    def groups(self, side: Table) -> Iterator[Group]:
        """The living deals of a side, counted and added up by month, currency, stage and owner."""
        alike: list[Any] = [side.c[name] for name in ("month", "currency", "stage", "owner")]
        sums: list[Any] = [func.count(), *(func.sum(side.c[name]) for name in ("a0", "a1", "a2"))]
        found = select(*alike, *sums).where(side.c.alive).group_by(*alike)
        with self._transaction() as tx:
            for month, currency, stage, owner, alike_deals, high, middle, low in tx.execute(found):
                amount = (int(high) * _LIMB + int(middle)) * _LIMB + int(low)
                yield Group(Face(month, currency, stage, owner, amount), alike_deals)

    def sights(self, connection_id: int, among: Sequence[Table]) -> Iterator[Sight]:
        """Every deal on which the given sides may disagree, as all sides show it.

        Where the digests of all deals of a month and bucket are equal on all of these sides, none of them differs.
        """
        self._analyze()
        with self._transaction() as tx:
            self._suspect(tx, among)
            found = text(_SIGHTS).bindparams(connection=connection_id)
            for one in tx.execute(found.execution_options(yield_per=1000)):
                yield _sight(one)

    def originals(self, source_ids: Sequence[str] | None = None, *, size: int = 2000) -> Iterator[list[Original]]:
        """Records as they were read, of these deals or of all, in lists of at most `size`."""
        if source_ids is not None:
            for chunk in bulk.in_chunks(source_ids, size):
                yield self._originals(source.c.source_id.in_(chunk))
            return
        after = ""
        while found := self._originals(source.c.source_id > after, limit=size):
            after = found[-1].record.source_id
            yield found

    def listed(self, *, size: int = 2000) -> Iterator[list[Listed]]:
        """The ledger's side, in lists of at most `size`."""
        after = ""
        columns = (ledger.c.source_id, ledger.c.state, ledger.c.alive, ledger.c.deal_id)
        while True:
            page = select(*columns).where(ledger.c.source_id > after).order_by(ledger.c.source_id).limit(size)
            with self._transaction() as tx:
                found = [Listed._make(one) for one in tx.execute(page)]
            if not found:
                return
            after = found[-1].source_id
            yield found

    def _originals(self, which: Any, limit: int | None = None) -> list[Original]:
        names = ("source_id", "version", "raw", "kind", "deleted", "observed_at", "readable")
        found = select(*(source.c[name] for name in names)).where(which, source.c.raw.is_not(None))
        with self._transaction() as tx:
            rows = tx.execute(found.order_by(source.c.source_id).limit(limit)).all()
        return [
            Original(Record(source_id, version, raw, kind, deleted), observed_at, readable)
            for source_id, version, raw, kind, deleted, observed_at, readable in rows
        ]

    def _analyze(self) -> None:
        """In a transaction of its own: whoever compares another connection would wait for its lock."""
        if self._connection.dialect.name == "postgresql":
            with self._transaction() as tx:
                for side in (source_sides, projection, ledger):
                    tx.execute(text(f"ANALYZE {side.name}"))

    def _suspect(self, tx: Connection, among: Sequence[Table]) -> None:
        digests = " UNION ALL ".join(
            f"SELECT month, bucket, count(*) AS n, sum(d0) AS d0, sum(d1) AS d1, sum(d2) AS d2 FROM {side.name} "  # noqa: S608
            "WHERE alive GROUP BY month, bucket"
            for side in among
        )
        odd = (
            f"SELECT DISTINCT month, bucket FROM (SELECT month, bucket FROM ({digests}) AS digests "  # noqa: S608
            f"GROUP BY month, bucket, n, d0, d1, d2 HAVING count(*) <> {len(among)}) AS odd"
        )
        suspects = " UNION ".join(
            f"SELECT source_id FROM {side.name} JOIN odd ON odd.month = {side.name}.month "  # noqa: S608
            f"AND odd.bucket = {side.name}.bucket WHERE alive"
            for side in among
        )
        unreadable = "SELECT source_id FROM source_side WHERE NOT readable"
        tx.execute(text(f"DELETE FROM {_suspects.name}"))  # noqa: S608
        # The list of odd months and buckets is asked for once; names are constants of ours.
        tx.execute(text(f"CREATE TEMPORARY TABLE odd AS {odd}"))
        tx.execute(text(f"INSERT INTO {_suspects.name} {suspects} UNION {unreadable}"))
        tx.execute(text("DROP TABLE odd"))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(), self._connection.begin():
            yield self._connection


@contextmanager
def opened(store: Store, connection_id: int) -> Iterator[Sides]:
    """What the store holds of the source's side, and the other two, empty, in a session that is closed with them."""
    with translated():
        connection = store.engine.connect().execution_options(reads_only=True)
    try:
        with translated(), connection.begin():
            _temporary.create_all(connection, checkfirst=False)
            names = ", ".join(source.columns.keys())
            mine = f"SELECT {names} FROM {source_sides.name} WHERE connection_id = {int(connection_id)}"  # noqa: S608
            connection.execute(text(f"CREATE TEMPORARY VIEW {source.name} AS {mine}"))
        yield Sides(connection)
    finally:
        connection.invalidate()  # closes the session itself: given back to the pool, it would keep its tables
        connection.close()


def _sight(one: Any) -> Sight:
    read = held = None
    if one.readable is not None:
        shown = one.source_state if one.source_alive else None
        read = Read(shown, one.source_version, one.source_at, bool(one.readable), bool(one.deleted))
    if one.held_alive is not None:
        flags = (bool(flag) for flag in (one.waits, one.moved, one.remap, one.hinted))
        held = Believed(bool(one.held_alive), one.held_state, one.held_version, one.held_at, *flags)
    listed = one.ledger_state if one.ledger_alive else None
    return Sight(one.source_id, read, held, listed, bool(one.parked), bool(one.discarded))


_SIGHTS = """
SELECT suspects.source_id, s.readable, s.alive AS source_alive, s.state AS source_state, s.deleted,
    s.version AS source_version, s.observed_at AS source_at,
    p.alive AS held_alive, p.state AS held_state, p.version AS held_version, p.observed_at AS held_at,
    p.waits, p.moved, p.remap, p.hinted, l.alive AS ledger_alive, l.state AS ledger_state,
    EXISTS (SELECT 1 FROM parked WHERE parked.connection_id = :connection AND parked.source_id = suspects.source_id
        AND parked.stage = 'record' AND parked.state = 'open') AS parked,
    CASE WHEN s.readable THEN 1 = 0 ELSE EXISTS (SELECT 1 FROM parked WHERE parked.connection_id = :connection
        AND parked.source_id = suspects.source_id AND parked.state = 'discarded'
        AND parked.raw_digest = s.raw_digest) END AS discarded
FROM suspects
LEFT JOIN source_side AS s ON s.source_id = suspects.source_id
LEFT JOIN projection_side AS p ON p.source_id = suspects.source_id
LEFT JOIN ledger_side AS l ON l.source_id = suspects.source_id
ORDER BY suspects.source_id
"""
