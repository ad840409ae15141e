"""cPod's reader: full reads by cursor or by page, reads by a verified changed-since parameter, and single reads."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace as with_fields
from typing import NamedTuple

from msgspec.structs import replace

from connectors.chunks import ChunkPlan
from connectors.committed import UNREAD
from connectors.cpod import chunks
from connectors.cpod.check import findings
from connectors.cpod.cursor import Hide, Place, Scan, State
from connectors.cpod.lists import DEALS, Lists, TurnedDown
from connectors.cpod.options import CpodOptions
from connectors.cpod.references import entries
from connectors.cpod.visibility import bound, counted, doubts
from connectors.cpod.walk import Walk
from connectors.faults import Misconfigured, Unintelligible
from connectors.pacing import Timing
from connectors.source import Absent, Account, Cursor, Entry, Finding, Found, Page
from connectors.times import shifted

IGNORED = "cPod pays no heed to changed_since_param, so everything was read; unset it"
NARROWED = "changed_since_param did not show the newest deal that was known, so everything was read"
ONLY_DELETED = "include_deleted_param showed no living deal, so deals were read without it"
BOUND = "a client that is bound to one application"

_ASKED: dict[Hide, dict[str, str | int]] = {
    "both": {"include_deleted": "true", "includeDeleted": "true"},
    "include_deleted": {"include_deleted": "true"},
    "includeDeleted": {"includeDeleted": "true"},
    "none": {},
}
"""The names that the parameter for deleted rows may have, in the order in which they are tried (section 3)."""


class _Ended(NamedTuple):
    """How a walk ended: what was learned, and what was counted."""

    state: State
    scan: Scan


class CpodReader:
    """An opened cPod connection (contracts/cpod.md); see `connectors.source.Reader` for what is promised.

    `timing` is for tests, which do not sleep.
    """

    def __init__(self, account: Account, *, timing: Timing | None = None) -> None:
        options = account.options
        if not isinstance(options, CpodOptions):
            raise Misconfigured("the options given are not those of the source 'cpod'")
        self._options = options
        self._now = account.now
        self._lists = Lists(account, options, timing)

    def close(self) -> None:
        """Close the connections."""
        self._lists.transport.close()

    def changed(self, cursor: Cursor | None) -> Iterator[Page]:
        """What changed since the cursor, where `changed_since_param` is set and keeps what it promises; else all rows.

        Rows that did not change are handed on as well: the pipeline knows their bytes and passes them over, while a
        reader that knew them itself would have to remember every deal. A changed version is never needed to see a
        change, so one that forgot to move hides nothing.
        """
        given = State.read(cursor)
        state = given or State()
        notes = () if given is not None else (UNREAD,)
        scan = state.scan
        if scan is None or scan.whole:
            since = None if state.watermark is None else shifted(state.watermark, -self._options.overlap)
            scan = Scan(self._now(), whole=False, since=since if self._options.since else None)
        yield from self._read(state, scan, notes)

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        """A complete read; its pages' doubts say why it may be no witness of absence.

        The cursor of a pull may be handed in as well: what it knows of the tenant is used.
        """
        state = State.read(cursor) or State()
        scan = state.scan if state.scan is not None and state.scan.whole else Scan(self._now(), whole=True)
        yield from self._read(state, scan, ())

    def one(self, source_id: str) -> Found | Absent:
        """One deal by its id; a soft-deleted one is found with the source's own word that it is gone.

        A 404 proves nothing to a client that sees one application's records only, unless `own_records_ok` is set. A
        403 raises `Refused` when the list is refused as well; else it hides this deal alone.
        """
        answer = self._lists.one(source_id)
        if isinstance(answer, Found):
            return answer
        if answer.answer == "403":
            with suppress(TurnedDown):
                self._lists.page(self._path, {}, None, Place())
        if answer.proof and not self._options.own_records_ok and bound(self._lists.tokens.claims()):
            return with_fields(answer, proof=False, answer=f"{answer.answer} to {BOUND}")
        return answer

    def reference(self, name: str) -> Iterator[Sequence[Entry]]:
        """Accounts, contacts, users, or per deal its primary quote or the sum of its line items (section 8)."""
        return entries(self._lists, name)

    def chunks(self, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
        """One part with everything, the bounds minded as it is read; see `connectors.chunks`."""
        yield chunks.plan(since, until)

    def chunk(self, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
        """The deals of the one part; see `connectors.chunks`."""
        return chunks.within(self.everything(cursor), chunk)

    def check(self) -> Iterator[Finding]:
        """Address, credentials, rights, clocks, the shape of pages, and cPod's own traps, each as one finding."""
        return findings(self._lists)

    @property
    def _path(self) -> str:
        return f"{self._options.crm_path}/{DEALS}"

    def _read(self, state: State, scan: Scan, notes: tuple[str, ...]) -> Iterator[Page]:
        """A read to its end, again in another way where the way it was asked for did not show what is there."""
        ended = yield from self._asking(state, scan, notes)
        if ended.scan.since is not None and not ended.scan.seen:
            notes = (*notes, NARROWED)
            ended = yield from self._asking(ended.state, Scan(scan.began, whole=scan.whole), notes)
        if not ended.scan.living and ended.scan.since is None and ended.state.hide != "none":
            plain = replace(ended.state, hide="none")
            again = yield from self._walk(plain, Scan(scan.began, whole=scan.whole), notes)
            if again.scan.living:
                ended, notes = again, (*notes, ONLY_DELETED)
        yield self._last(ended, notes)

    def _last(self, ended: _Ended, notes: tuple[str, ...]) -> Page:
        """The page that brings no rows but the verdict on the whole read, and the cursor after it."""
        state, scan = ended
        unseen: tuple[str, ...] = ()
        if scan.since is None or scan.ignored:
            if not self._options.own_records_ok:
                unseen = doubts(self._lists.tokens.claims(), state, scan)
            state = replace(state, most=max(state.most, scan.living))
        if scan.ignored:
            notes = (*notes, IGNORED)
        if scan.newest is not None and scan.newest >= (state.watermark or ""):
            state = replace(state, watermark=scan.newest, witness=scan.newest_id)
        after = replace(state, scan=None)
        return Page(
            records=(),
            requested_at=self._now(),
            cursor=after.cursor(),
            doubts=unseen if scan.whole else (),
            notes=notes if scan.whole else (*notes, *unseen),
        )

    def _asking(self, state: State, scan: Scan, notes: tuple[str, ...]) -> Generator[Page, None, _Ended]:
        """A walk that asks for deleted rows in the first of the ways that the list does not turn down."""
        ways: tuple[Hide, ...] = tuple(_ASKED)
        if state.hide in ways:
            ways = ways[ways.index(state.hide) :]
        if self._options.include_deleted_param != "auto" and state.hide != "none":
            ways = ("named",)
        for way in ways:
            try:
                return (yield from self._walk(replace(state, hide=way), scan, notes))
            except TurnedDown as no:
                status, scan = no.status, replace(scan, place=Place())
        raise Unintelligible(
            f"the list of deals answered {status} to a request for its first page; check crm_path, and the options "
            "include_deleted_param and changed_since_param if they are set"
        )

    def _walk(self, state: State, scan: Scan, notes: tuple[str, ...]) -> Generator[Page, None, _Ended]:
        params = self._params(state, scan)
        walk = Walk(self._lists, self._path, params, state.shape, scan.place)
        stamped = self._options.since is not None
        for step in walk.steps():
            sheet = step.sheet
            if step.begins:
                # By the source's own clock where it tells it: what changes from now on is stamped by that one.
                began = min(scan.began, sheet.source_time or scan.began)
                scan = Scan(began, whole=scan.whole, since=scan.since)
            scan = counted(scan, sheet.rows.records, stamped=stamped, witness=state.witness)
            state = replace(state, shape=walk.shape)
            if step.after is not None:
                scan = replace(scan, place=step.after)
            yield Page(
                records=sheet.rows.records,
                spoiled=sheet.rows.spoiled,
                requested_at=sheet.requested_at,
                cursor=None if step.after is None else replace(state, scan=scan).cursor(),
                doubts=step.doubts if scan.whole else (),
                notes=notes if scan.whole else (*notes, *step.doubts),
            )
        return _Ended(state, scan)

    def _params(self, state: State, scan: Scan) -> dict[str, str | int]:
        named = self._options.include_deleted_param
        hidden = _ASKED.get(state.hide or "none", {named: "true"} if named else {})
        changed: dict[str, str | int] = {}
        if scan.since is not None and self._options.since is not None:
            changed = {self._options.since: scan.since}
        return {**hidden, **changed}
