"""Listing: every deal of a ledger that shows them a page at a time, while it goes on changing.

The list has no cursor, only an offset, and what changed last stands first (contracts/openquota.md section 4). Whatever
changes while it is read moves to its front, past whoever has not come to it yet; whatever is hidden meanwhile draws all
behind it forward.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from ledger.port import LedgerUnavailable
from ledger.wire import DealsPage, Listed

PAGE = 500
"""The most deals that a ledger shows at once."""

_MOST_LOOKS = 20
_CACHE_KIB = 16384


def every_deal(page_at: Callable[[int], DealsPage]) -> Iterator[Listed]:
    """Every deal once, as it was at some moment of the reading; `page_at` reads the page at an offset.

    After the list was read to its end its front is looked at again, as far back as what stood there when the look
    before began, until one page shows all that has changed since then, or nothing has. Memory does not grow with the
    list. Raises `LedgerUnavailable` when the list changes faster than it can be read, or nothing can be kept on disk,
    and what `page_at` raises.
    """
    with closing(_Seen()) as seen:
        since = ""
        for _ in range(_MOST_LOOKS):
            look = yield from _look(page_at, seen, since)
            if look.complete or look.newest == since:
                return
            since = look.newest
    raise LedgerUnavailable("the ledger's deals change faster than they can be listed: try when less is written to it")


class _Look(NamedTuple):
    """When the first deal of the list had changed, and whether its first page showed all that was looked for."""

    newest: str
    complete: bool


def _look(page_at: Callable[[int], DealsPage], seen: _Seen, since: str) -> Generator[Listed, None, _Look]:
    """Yield the deals that were not seen yet, from the front to the first page with one that changed before `since`.

    Each page begins with the last deal of the page before. Where one stands there that was not seen, others were hidden
    from the list, and what they drew forward is gone back for.
    """
    look, offset = None, 0
    while True:
        page = page_at(offset)
        unseen = seen.unseen(page.deals)
        yield from unseen
        if offset and unseen[:1] == page.deals[:1]:
            offset = max(0, offset - PAGE)
            continue
        following = page.pagination.next_offset
        older = any(deal.updated_at < since for deal in page.deals)
        if following is None or following <= offset:
            return look or _Look(page.deals[0].updated_at if page.deals else "", complete=True)
        look = look or _Look(page.deals[0].updated_at, complete=older)
        if older and not unseen:
            return look
        offset = max(offset + 1, following - 1)


class _Seen:
    """Which deals came before, by digests of their ids, in a nameless temporary file that ends with its process."""

    def __init__(self) -> None:
        # Whoever takes the deals one by one may end in another thread than he began in.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
            self._file.execute(f"PRAGMA {setting}")
        self._file.execute("BEGIN")  # never to be committed: each commit would look through the whole cache
        self._file.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")

    def unseen(self, deals: Sequence[Listed]) -> list[Listed]:
        """Those among these that come for the first time, in their order."""
        try:
            return [deal for deal in deals if self._is_new(deal.id)]
        except sqlite3.Error as error:
            raise LedgerUnavailable(
                f"which deals the ledger has shown is kept in a temporary file, and that cannot be written ({error}): "
                "make room, or name another folder in SQLITE_TMPDIR"
            ) from None

    def _is_new(self, name: str) -> bool:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        return self._file.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def close(self) -> None:
        self._file.close()
