"""Budgets: the spending of each source account, kept for all processes that use it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from connectors.permits import Step, T
from connectors.spending import Spending
from pipeline.store.budget_tables import budgets
from pipeline.store.session import Store, now

_decoder = msgspec.json.Decoder(Spending)


class AccountPurse:
    """The spending of one account, in the store; see `connectors.permits.Purse`.

    The clock is the database's, so that processes whose clocks differ agree; `epoch` (seconds) takes its place where
    a simulated tenant has a time of its own. Raises `StoreUnavailable` when the database cannot.
    """

    def __init__(self, store: Store, account: str, epoch: Callable[[], float] | None = None) -> None:
        self._store = store
        self._account = account
        self._epoch = epoch

    def change(self, step: Step[T]) -> T:
        """Take a step in a short transaction of its own. It need not outlive a crash of the whole database."""
        with self._store.write() as tx:
            if tx.dialect.name == "postgresql":
                tx.execute(text("SET LOCAL synchronous_commit = off"))
            spending = held(tx, self._account)
            instant = datetime.fromisoformat(now(tx)).timestamp() if self._epoch is None else self._epoch()
            changed, found = step(spending, instant)
            if changed != spending:
                keep(tx, self._account, changed)
        return found


def all_of_them(tx: Connection) -> dict[str, Spending]:
    """The spending of every account that has ever asked, by its name; nobody waits for it."""
    return {row.account: _decoder.decode(row.state) for row in tx.execute(select(budgets))}


def held(tx: Connection, account: str) -> Spending:
    """The spending of an account, held for this transaction."""
    query = select(budgets.c.state).where(budgets.c.account == account).with_for_update()
    state = tx.execute(query).scalar_one_or_none()
    if state is None:
        insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        tx.execute(insert(budgets).values(account=account, state="{}").on_conflict_do_nothing())
        state = tx.execute(query).scalar_one()
    return _decoder.decode(state)


def keep(tx: Connection, account: str, spending: Spending) -> None:
    """Write down the spending of an account that is held."""
    state = msgspec.json.encode(spending).decode()
    tx.execute(update(budgets).where(budgets.c.account == account).values(state=state))
