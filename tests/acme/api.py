"""Acme's reader: changes behind a number, everything from the first change on, and single reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from connectors.acme.check import findings
from connectors.acme.lists import Lists
from connectors.acme.options import AcmeOptions
from connectors.committed import UNREAD, Committed
from connectors.faults import Misconfigured
from connectors.pacing import Timing
from connectors.source import Absent, Account, Cursor, Entry, Finding, Found, Page

SHORT = "fewer deals came than the list says there are"
CUT = "the list ended before its newest change"
EMPTY = "the list is empty"


class State(Committed, frozen=True):
    """`after` is the number of the last change that a pull has read; `sweep` that of a complete read under way, which
    has shown `living` rows of deals that live."""

    after: int = 0
    sweep: int | None = None
    living: int = 0


class AcmeReader:
    """An opened Acme connection (contracts/acme.md); see `connectors.source.Reader`. `timing` is for tests."""

    def __init__(self, account: Account, *, timing: Timing | None = None) -> None:
        if not isinstance(account.options, AcmeOptions):
            raise Misconfigured("the options given are not those of the source 'acme'")
        self._lists = Lists(account, account.options, timing)

    def close(self) -> None:
        """Close the connections."""
        self._lists.transport.close()

    def changed(self, cursor: Cursor | None) -> Iterator[Page]:
        """What changed since the cursor: a deal that changes while it is read comes again, further on."""
        given = State.read(cursor)
        notes = (UNREAD,) if given is None else ()
        after = given.after if given is not None else 0
        while True:
            page = self._lists.changes(after)
            after = page.last
            ended = not page.rows.keys or after >= page.head
            cut = (CUT,) if ended and after < page.head else ()
            yield Page(
                records=page.rows.records,
                spoiled=page.rows.spoiled,
                requested_at=page.answer.requested_at,
                cursor=State(after=after).cursor(),
                notes=(*notes, *cut),
            )
            if ended:
                return

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        """Every deal by its latest change; no witness unless it came to the newest one, and as many as there are."""
        state = State.read(cursor) or State()
        if state.sweep is None:
            state = State(after=state.after, sweep=0)
        while True:
            page = self._lists.changes(state.sweep or 0)
            living = state.living + sum(not record.deleted for record in page.rows.records) + len(page.rows.spoiled)
            state = msgspec.structs.replace(state, sweep=page.last, living=living)
            ended = not page.rows.keys or page.last >= page.head
            doubts = ()
            if ended:
                found = {CUT: page.last < page.head, SHORT: living < page.count, EMPTY: not living}
                doubts = tuple(doubt for doubt, holds in found.items() if holds)
            yield Page(
                records=page.rows.records,
                spoiled=page.rows.spoiled,
                requested_at=page.answer.requested_at,
                cursor=state.cursor(),
                doubts=doubts,
            )
            if ended:
                return

    def one(self, source_id: str) -> Found | Absent:
        """One deal by its id. A 403 raises when the list is refused as well; else it hides this deal alone."""
        answer = self._lists.one(source_id)
        if isinstance(answer, Absent) and answer.answer == "403":
            self._lists.changes(0)
        return answer

    def reference(self, name: str) -> Iterator[Sequence[Entry]]:
        """The users by their ids."""
        if name != "users":
            raise Misconfigured(f"acme has no reference data called {name[:40]!r}; it has users")
        yield self._lists.users()

    def check(self) -> Iterator[Finding]:
        """Address, credentials, rights, first page and clocks, each as one finding."""
        return findings(self._lists)
