"""Leases: exclusive work, held on the database's clock, with a fencing token that a paused owner cannot outlive."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.faults import Busy, StaleLease
from pipeline.store.session import Store, later, now
from pipeline.store.tables import leases

TTL = timedelta(seconds=10)
"""How long a lease outlives its owner."""

RENEW_EVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do one thing. Writes made under it carry `token`."""

    name: str
    owner: str
    token: int


def confirm(tx: Connection, lease: Lease) -> None:
    """Hold the lease's row for this transaction, so that nobody can take it over before the commit.

    Raises `StaleLease` when somebody already has: then nothing of this transaction may be written.
    """
    held = select(leases.c.token).where(leases.c.name == lease.name).with_for_update(read=True)
    if tx.execute(held).scalar_one_or_none() != lease.token:
        raise StaleLease(f"the lease {lease.name!r} was taken over while we were away; nothing was written under it")


def held(tx: Connection) -> set[str]:
    """The names of the leases that somebody holds at this moment."""
    return set(tx.execute(select(leases.c.name).where(leases.c.expires_at > now(tx))).scalars())


@contextmanager
def hold(store: Store, name: str) -> Iterator[Lease]:
    """Take a lease for the length of a `with` block, renewed from a thread. Raises `Busy` when it is held."""
    lease = _take(store, name)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(store, lease, done), name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        done.set()
        keeper.join()
        _release(store, lease)


def _take(store: Store, name: str) -> Lease:
    owner = uuid.uuid4().hex
    with store.write() as tx:
        instant = now(tx)
        row = tx.execute(select(leases).where(leases.c.name == name).with_for_update()).one_or_none()
        expires = later(instant, TTL)
        if row is None:
            return _first(tx, Lease(name, owner, 1), expires)
        if row.expires_at > instant:
            raise Busy(
                f"{name} is being worked on by another process (its lease ends {row.expires_at}); try again then"
            )
        token = row.token + 1
        change = update(leases).where(leases.c.name == name)
        tx.execute(change.values(owner=owner, token=token, expires_at=expires))
        return Lease(name, owner, token)


def _first(tx: Connection, lease: Lease, expires: str) -> Lease:
    try:
        tx.execute(insert(leases).values(name=lease.name, owner=lease.owner, token=1, expires_at=expires))
    except IntegrityError:
        raise Busy(f"{lease.name} is being worked on by another process; try again in a moment") from None
    return lease


def _keep(store: Store, lease: Lease, done: threading.Event) -> None:
    while not done.wait(RENEW_EVERY_S):
        try:
            with store.write() as tx:
                mine = leases.c.name == lease.name, leases.c.token == lease.token
                tx.execute(update(leases).where(*mine).values(expires_at=later(now(tx), TTL)))
        except Exception:  # noqa: S112 - a renewal that fails lets the lease run out, which `confirm` sees
            continue


def _release(store: Store, lease: Lease) -> None:
    """Give the lease back at once: it expires now, and its token stays used."""
    try:
        with store.write() as tx:
            mine = leases.c.name == lease.name, leases.c.token == lease.token
            tx.execute(update(leases).where(*mine).values(expires_at=now(tx)))
    except Exception:
        return
