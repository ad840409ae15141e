"""The store itself: reading and writing transactions, the database's clock, and faults a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from ledger.engine import first_line, reading
from pipeline.faults import StoreUnavailable, StoreUnready

CLOCK = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
    "postgresql": """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
}
"""The database's clock in SQL, ISO 8601 UTC with milliseconds, for a statement that must not ask twice."""

_NOW = {dialect: text(f"SELECT {clock}") for dialect, clock in CLOCK.items()}


def now(tx: Connection) -> str:
    """The database's clock, ISO 8601 UTC with milliseconds."""
    return str(tx.execute(_NOW[tx.dialect.name]).scalar_one())


def later(instant: str, by: timedelta) -> str:
    """A time of the database's clock, moved."""
    moment = datetime.fromisoformat(instant) + by
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store:
    """What the pipeline remembers. `epoch` was drawn when the store was made and is part of every dedup key."""

    def __init__(self, engine: Engine, epoch: str = "") -> None:
        self.engine = engine
        self.epoch = epoch

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block. Raises `StoreUnavailable` when the database cannot."""
        with translated(), self.engine.begin() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: a consistent view that does not hold up writers."""
        with translated(), reading(self.engine) as tx:
            yield tx

    def now(self) -> str:
        """The database's clock."""
        with self.read() as tx:
            return now(tx)


@contextmanager
def translated() -> Iterator[None]:
    """Database errors as faults that say what to do; statements and values are left out of them."""
    try:
        yield
    except (IntegrityError, DataError, psycopg.IntegrityError, psycopg.DataError):
        raise  # no state of the database, but a bug of ours
    except PoolExhausted as error:
        raise StoreUnavailable(
            "the store cannot be used: all connections to the database are in use by other work of this process. Try "
            "again when some of it is done; nothing was lost"
        ) from error
    except (DatabaseError, InterfaceError, psycopg.Error) as error:  # COPY speaks with the driver itself
        what = first_line(error)
        if "no such table" in what:
            raise StoreUnready("the store is empty: run `dealsync migrate`") from error
        if isinstance(error, ProgrammingError | psycopg.ProgrammingError) and "permission denied" not in what:
            raise StoreUnready(f"the store does not fit this version ({what}): run `dealsync migrate`") from error
        raise StoreUnavailable(f"the store cannot be used: {what}. {_advice(what)}") from error


def _advice(what: str) -> str:
    for sign, advice in _ADVICE.items():
        if sign in what:
            return advice
    return "Check that the database runs and can be reached, then run the command again; nothing was lost"


_ADVICE = {
    "disk is full": "Free some space, then run the command again; nothing was lost",
    "No space left": "Free some space, then run the command again; nothing was lost",
    "readonly": "Make the file and its folder writable, then run the command again",
    "read-only": "The database accepts no writes: connect to the primary, then run the command again",
    "permission denied": "Grant the user of [store] url the rights on all of the store's tables and sequences",
    "locked": "Another process holds the database; run the command again when it is done",
    "unable to open": "Check that the folder exists and may be written",
    "not a database": "The file is not an SQLite database: name another file in [store] url",
    "malformed": "The file is damaged: restore it from a backup",
}
