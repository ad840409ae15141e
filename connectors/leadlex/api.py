"""LeadLex's reader: complete reads by windows of the creation date, two walks for what changed, single reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from connectors.chunks import ChunkPlan
from connectors.committed import UNREAD
from connectors.faults import Misconfigured
from connectors.leadlex import chunks
from connectors.leadlex.audit import Deletions
from connectors.leadlex.check import findings
from connectors.leadlex.cursor import Log, Scan, State, Under
from connectors.leadlex.exports import UNJOINED, Exports, Headline
from connectors.leadlex.lists import UNEDITED, Listed, Lists
from connectors.leadlex.options import LeadlexOptions
from connectors.leadlex.whole import Wholeness, as_listed
from connectors.leadlex.windows import UNCOUNTED, Fetch, Step, Windows, seconds
from connectors.leadlex.witness import Witness
from connectors.pacing import Timing
from connectors.source import Absent, Account, Cursor, Entry, Finding, Found, Page, Record
from connectors.times import later, shifted

EMPTY = "the list is empty"
MISCOUNTED = "the list showed another number of deals than it says it has"
GOES_ON = "the list says it ends after its first page, and then goes on"
AGAIN = "the list moved while changes were read, so the next pull reads them again"


class LeadlexReader:
    """An opened LeadLex connection (contracts/leadlex.md); see `connectors.source.Reader` for what is promised.

    `timing` is for tests, which do not sleep.
    """

    def __init__(self, account: Account, *, timing: Timing | None = None) -> None:
        options = account.options
        if not isinstance(options, LeadlexOptions):
            raise Misconfigured("the options given are not those of the source 'leadlex'")
        self._options = options
        self._now = account.now
        self._lists = Lists(account, options, timing)
        self._exports = Exports(self._lists, account.now)
        self._whole: Wholeness | None = None

    def close(self) -> None:
        """Close the connections."""
        self._lists.transport.close()

    def changed(self, cursor: Cursor | None) -> Iterator[Page]:
        """What changed since the cursor; everything when there is none.

        A deal is new or edited: never edited ones have no `updated_date`, so two walks are needed (section 4). The
        watermark is LeadLex's own time when the first of them began, and moves when both have come to their end.
        """
        given = State.read(cursor)
        state = replace(given or State(), sweep=None)
        under = state.under or self._begin(state)
        notes = () if given is not None else (UNREAD,)
        yield from self._walks(state, under, notes) if under.log is None else self._audited(state, under, notes)

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        """A complete read; its pages' doubts say why it may be no witness of absence.

        The list's own count before and after is held against what was shown, and so is a CSV export where that is
        switched on: what only the export names is asked for by itself.
        """
        state = State.read(cursor) or State()
        scan = state.sweep or Scan()
        witness = Witness(self._lists, self._exports) if self._options.use_csv_export and scan == Scan() else None
        whole = Wholeness(self._lists, state)
        after, begun = state, False
        for step in Windows(self._fetch({}), scan, self._options.page_size).steps():
            if witness is not None:
                if not begun:
                    witness.begin(step.scan.total)
                witness.saw(step.listed.rows.keys)
            listed = yield from whole.complete(step.listed)
            begun, notes = True, whole.notes
            if not step.done:
                after = State(watermark=state.watermark, sweep=step.scan, judged=whole.judged, missing=whole.missing)
                yield _page(listed, (), after, notes=notes)
        scan = step.scan
        single = scan.after is None and bool(step.listed.rows.keys)
        last = self._lists.page({}, 2 if single else 1)
        counts = (scan.total or 0, last.meta.total or 0)
        found, accounted = witness.settle(counts) if witness is not None else ([], False)
        doubts = _doubts(scan, last, counts, len(found))
        if single and last.rows.keys:
            doubts = (*doubts, GOES_ON)
        if accounted:
            doubts = tuple(doubt for doubt in doubts if doubt != MISCOUNTED)
        told = (*notes, *(witness.notes if witness is not None else ()))
        # The cursor stays before the last page: should the run die now, that page is read and counted once more.
        yield _page(listed, found, after, notes=told, doubts=doubts)

    def exported(self, created_after: str | None = None, created_before: str | None = None) -> Iterator[Headline]:
        """Ids and headline values of the deals created in a time (instants), from CSV exports (section 15).

        A deal on the edge of two exports may come twice. A look at what a backfill will bring; never a record. Raises
        `connectors.leadlex.exports.NotNow` when no export can be had, `Unintelligible` when its ids are not those of
        the list or it breaks off.
        """
        rows = list(self._exports.between(created_after, created_before))
        if rows and not self._exports.verified(rows):
            raise Misconfigured(UNJOINED)
        return iter(rows)

    def one(self, source_id: str) -> Found | Absent:
        """One deal by its id; where we go without what lists leave out, as they show it."""
        answer = self._lists.one(source_id)
        if isinstance(answer, Found) and not self._options.get_one_fallback:
            return as_listed(self._lists, answer)
        return answer

    def chunks(self, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
        """Windows of the creation date; see `connectors.chunks`."""
        return chunks.plan(self._lists, self._exports, (since, until), self._now())

    def chunk(self, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
        """The deals of one window; see `connectors.chunks`."""
        whole = self._whole = self._whole or Wholeness(self._lists, State())
        for step, rows in chunks.steps(self._lists, chunk, cursor):
            listed = yield from whole.complete(step.listed._replace(rows=rows))
            yield Page(
                records=listed.rows.records,
                spoiled=listed.rows.spoiled,
                requested_at=step.listed.requested_at,
                cursor=chunks.cursor_of(step),
                notes=(*whole.notes, *step.scan.doubts),
            )

    def check(self) -> Iterator[Finding]:
        """Address, credentials, rights, quota, first page, clocks and webhooks, each as one finding."""
        return findings(self._lists)

    def reference(self, name: str) -> Iterator[Sequence[Entry]]:
        """Users by id; whoever has left is missing, though deals still name them. Companies by id."""
        if name == "users":
            return self._lists.users()
        if name == "companies":
            return self._lists.companies()
        raise Misconfigured(f"leadlex has no reference data called {name[:40]!r}; it has users and companies")

    # -- inside

    def _begin(self, state: State) -> Under:
        if state.watermark is None:
            return Under(road="all")
        return Under(road="updated", floor=shifted(state.watermark, -self._options.overlap))

    def _walk(self, under: Under) -> Windows:
        filters = {"updated_after": seconds(under.floor)} if under.road == "updated" and under.floor else {}
        return Windows(self._fetch(filters), under.scan, self._options.page_size)

    def _fetch(self, filters: Mapping[str, str]) -> Fetch:
        return lambda params, number: self._lists.page({**filters, **params}, number)

    def _walks(self, state: State, under: Under, notes: tuple[str, ...]) -> Iterator[Page]:
        """The pages of both walks, and what the audit log says since they began."""
        whole = Wholeness(self._lists, state)
        while True:
            for step in self._walk(under).steps():
                under = _seen(under, step)
                listed = yield from whole.complete(step.listed)
                state = replace(state, under=under, judged=whole.judged, missing=whole.missing)
                if not step.done:
                    yield _page(listed, (), state, notes=(*notes, *whole.notes))
            if under.road != "updated":
                break
            under = replace(under, road="created", scan=Scan(after=under.floor, doubts=under.scan.doubts))
            state = replace(state, under=under)
            yield _page(listed, (), state, notes=(*notes, *whole.notes))
        notes = (*notes, *whole.notes)
        if not self._options.use_audit_log or under.floor is None:
            state, told = _ended(state, under)
            yield _page(listed, (), state, notes=(*notes, *told))
            return
        under = replace(under, log=Log())
        yield _page(listed, (), replace(state, under=under), notes=notes)
        yield from self._audited(state, under, notes)

    def _audited(self, state: State, under: Under, notes: tuple[str, ...]) -> Iterator[Page]:
        """What became of the deals that the audit log says were deleted, and the end of the read."""
        if self._options.use_audit_log and under.floor is not None:
            deletions = Deletions(self._lists, under.floor, under.log or Log(), known=state.audited)
            for dealt in deletions.confirmed():
                after = replace(state, under=replace(under, log=deletions.log))
                yield Page(records=dealt.records, requested_at=dealt.requested_at, cursor=after.cursor(), notes=notes)
            state, notes = replace(state, audited=deletions.log.names), (*notes, *deletions.notes)
        state, told = _ended(state, under)
        yield Page(
            records=(), requested_at=self._now(), cursor=state.cursor(), notes=tuple(dict.fromkeys((*notes, *told)))
        )


def _ended(state: State, under: Under) -> tuple[State, tuple[str, ...]]:
    """The state that a read leaves at its end, with the watermark that both walks leave; not where they may have
    skipped something, and then why."""
    watermark, notes = later(state.watermark, under.then or under.top), under.scan.doubts
    if notes and under.floor is not None:
        watermark, notes = state.watermark, (*notes, AGAIN)
    return replace(state, watermark=watermark, under=None), notes


def _seen(under: Under, step: Step) -> Under:
    """The read as it stands after a page. Its first page's time is the watermark it leaves: what changes while the
    walk goes on is read again by the next."""
    began = under.began or step.listed.requested_at
    versions = [record.version for record in step.listed.rows.records if record.version != UNEDITED]
    # A deal edited later than that may have been read before its edit: no watermark may pass over it.
    edits = [version for version in versions if version is not None and version <= began]
    top = later(under.top, max(edits, default=None)) if under.then is None else None
    return replace(under, scan=step.scan, then=under.then or step.listed.source_time, top=top, began=began)


def _doubts(scan: Scan, last: Listed, counts: tuple[int, int], found: int) -> tuple[str, ...]:
    """Why a complete read may have missed a deal: its count must lie between what the list said before and after."""
    doubts = list(scan.doubts)
    if scan.total is None or last.meta.total is None:
        doubts.append(UNCOUNTED)
    elif not min(counts) <= scan.counted + found <= max(counts):
        doubts.append(MISCOUNTED)
    if not scan.counted:
        doubts.append(EMPTY)
    return tuple(dict.fromkeys(doubts))


def _page(
    listed: Listed, more: Sequence[Record], after: State, *, notes: tuple[str, ...], doubts: tuple[str, ...] = ()
) -> Page:
    """The page, with `more` records that came by another road."""
    return Page(
        records=[*listed.rows.records, *more],
        spoiled=listed.rows.spoiled,
        requested_at=listed.requested_at,
        cursor=after.cursor(),
        notes=tuple(dict.fromkeys(notes)),
        doubts=doubts,
    )
