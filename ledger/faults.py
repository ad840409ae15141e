"""Faults: what a database says that cannot be used, as faults of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DatabaseError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from ledger.engine import first_line
from ledger.port import LedgerRefused, LedgerUnavailable


@contextmanager
def translated() -> Iterator[None]:
    """Database errors as faults of the ledger that say what to do; statements and values are left out of them."""
    try:
        yield
    except (ProgrammingError, psycopg.ProgrammingError) as error:
        raise LedgerRefused(
            f"the ledger's tables cannot be used ({first_line(error)}): run `dealsync migrate`"
        ) from error
    except PoolExhausted as error:
        raise LedgerUnavailable(
            "all connections to the database are in use by other work of this process: the same events may be sent "
            "again when some of it is done"
        ) from error
    except (DatabaseError, InterfaceError, psycopg.Error) as error:  # COPY speaks with the driver itself
        what = first_line(error)
        if "no such table" in what or "no such column" in what:
            raise LedgerRefused(f"the ledger's tables cannot be used ({what}): run `dealsync migrate`") from error
        raise LedgerUnavailable(
            f"the ledger's database cannot be used ({what}): check that it runs, can be written and has room; the same "
            "events may be sent again"
        ) from error
