"""Planhat's reader: full reads by `_id`, incremental walks by descending `updatedAt`, single reads, and the check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from connectors.chunks import ChunkPlan
from connectors.committed import UNREAD
from connectors.faults import Misconfigured, Refused, Unintelligible
from connectors.pacing import Timing
from connectors.paging import BY_ID, NEWEST_FIRST, OffsetWalk, PagedBadly, Place, Step
from connectors.planhat.check import findings
from connectors.planhat.chunks import Parts
from connectors.planhat.cursor import Full, Kind, State, newest
from connectors.planhat.lists import KINDS, Lists, Probe
from connectors.planhat.neighbours import Definitions, reference
from connectors.planhat.options import PlanhatOptions
from connectors.planhat.whole import Wholeness
from connectors.slicing import Sliced
from connectors.source import Absent, Account, Cursor, Entry, Finding, Found, Page
from connectors.times import later, shifted

EMPTY = "the list is empty"
BOTH = "deals and opportunities both have rows; set the option revenue_model to say which of them count"
UNSEEN = "deals cannot be seen with this token, so opportunities were read; set the option revenue_model"
HIDDEN = (
    "one of deals and opportunities has no rows, and this token may not see the other: edit the permissions of its "
    "Private App in Planhat, or set the option revenue_model"
)
NEITHER = "neither deals nor opportunities have rows yet"
UNSORTED = "Planhat did not keep sort=-updatedAt, so everything was read"
UNREADABLE = "the Private App of this token may read neither deals nor opportunities; edit its permissions in Planhat"


class _Model(NamedTuple):
    """Which list holds the deals. `doubts` says why the choice might be another one."""

    kind: Kind | None
    probe: Probe
    doubts: tuple[str, ...] = ()


class PlanhatReader:
    """An opened Planhat connection (contracts/planhat.md); see `connectors.source.Reader` for what is promised.

    `timing` is for tests, which do not sleep.
    """

    def __init__(self, account: Account, *, timing: Timing | None = None) -> None:
        options = account.options
        if not isinstance(options, PlanhatOptions):
            raise Misconfigured("the options given are not those of the source 'planhat'")
        self._options = options
        self._now = account.now
        self._lists = Lists(account, options, timing)
        self._definitions = Definitions(self._lists)
        self._parts = Parts(self._lists)
        self._kind: Kind | None = None if options.revenue_model == "auto" else options.revenue_model

    def close(self) -> None:
        """Close the connections."""
        self._lists.transport.close()

    def changed(self, cursor: Cursor | None) -> Iterator[Page]:
        """What changed since the cursor; everything when there is none, or when Planhat does not keep its order."""
        return self._definitions.with_pages(self._changed(cursor))

    def _changed(self, cursor: Cursor | None) -> Iterator[Page]:
        given = State.read(cursor)
        state = given or State()
        notes = () if given is not None else (UNREAD,)
        kind = self._kind_of(state)
        if kind is None:
            found = self._detect()
            if found.kind is None:
                notes = () if found.doubts else (NEITHER,)
                at = found.probe.answer.requested_at
                yield Page(records=(), requested_at=at, cursor={}, doubts=found.doubts, notes=notes)
                return
            self._kind = kind = found.kind
        if state.model != kind:
            state = State(model=kind)
        if state.watermark is None or state.full is not None or self._options.incremental == "scan":
            yield from self._everything(state, kind, notes)
        else:
            yield from self._newest_first(state, state.watermark, kind)

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        """A complete read; its pages' doubts say why it may be no witness of absence.

        The cursor of a pull may be handed in as well: then the model it found is the one that is read.
        """
        return self._definitions.with_pages(self._complete(cursor))

    def _complete(self, cursor: Cursor | None) -> Iterator[Page]:
        state = State.read(cursor) or State()
        kind = self._kind_of(state)
        doubts: tuple[str, ...] = ()
        if state.full is not None:
            doubts = state.full.doubts
        elif kind is None:
            found = self._detect(thoroughly=True)
            kind, doubts = found.kind, found.doubts
        if kind is None:
            yield Page(records=(), requested_at=self._now(), doubts=(*doubts, EMPTY), notes=(NEITHER,))
            return
        if not doubts:
            self._kind = kind
        place = state.full.place if state.full is not None else Place()
        whole = Wholeness(self._lists, kind, None)
        walk = self._walk(kind, "_id", place)
        try:
            for step in walk.steps():
                doubts = _joined(doubts, step.doubts)
                rows = yield from whole.complete(step.fetched)
                place = step.place
                full = Full(*place, doubts=doubts)
                yield _page(step, rows, State(model=kind, full=full), notes=whole.notes, doubts=doubts)
        except PagedBadly as fault:
            doubts = _joined(doubts, (str(fault),))
        doubts = _joined(doubts, walk.doubts if place.offset else (EMPTY,))
        yield Page(records=(), requested_at=self._now(), doubts=doubts)

    def one(self, source_id: str) -> Found | Absent:
        """One record by `_id`, `extid-...` or `srcid-...`.

        While it is not settled which model the tenant uses, both are asked, and only both together prove absence. A
        403 raises `Refused` when the list is refused as well; else it hides this record alone, and proves nothing.
        """
        kinds = KINDS if self._kind is None else (self._kind,)
        answers = []
        for kind in kinds:
            answer = self._lists.one(kind, source_id)
            if isinstance(answer, Found):
                return self._definitions.with_found(answer)
            answers.append(answer)
        if all(answer.answer == "403" for answer in answers):
            self._detect() if self._kind is None else self._lists.probe(self._kind)
        if len(answers) == 1:
            return answers[0]
        told = ", ".join(f"{answer.answer} from {kind}" for kind, answer in zip(kinds, answers, strict=True))
        return Absent(all(answer.proof for answer in answers), told, answers[0].requested_at)

    def recall(self, cursor: Cursor | None) -> None:
        """Keep to the model that a pull has found; see `connectors.chunks`."""
        self._kind_of(State.read(cursor) or State())

    def chunks(self, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
        """Ranges of `_id`, whose first four bytes are the second of its creation; see `connectors.chunks`."""
        kind = self._kind_of(State())
        if kind is None:
            found = self._detect()
            if UNSEEN in found.doubts or (found.kind is None and found.probe.answer.status == 403):
                self._lists.probe("deals")  # which refuses us: that there is nothing to read must not be concluded
            kind = found.kind
        if kind is not None:
            self._kind = kind
            yield from self._parts.plan(kind, since, until)

    def chunk(self, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
        """The deals of one range; see `connectors.chunks`."""
        return self._definitions.with_pages(self._parts.read(chunk, cursor))

    def check(self) -> Iterator[Finding]:
        """Address, credentials, rights, model, first page, order and clocks, each as one finding."""
        return findings(self._lists)

    def reference(self, name: str) -> Iterator[Sequence[Entry]]:
        """Users (inactive ones too) and companies, each by id (section 9)."""
        return reference(self._lists, name)

    def _kind_of(self, state: State) -> Kind | None:
        """The model once found is kept: their ids must never mix."""
        if self._options.revenue_model != "auto":
            return self._options.revenue_model
        if state.model is not None:
            self._kind = state.model
        return self._kind

    def _detect(self, *, thoroughly: bool = False) -> _Model:
        """Find out which list holds the deals; 403, 404 and an empty list mean unknown (section 1 of the contract)."""
        deals = self._lists.probe("deals", accept=frozenset({403, 404}))
        if deals.has_rows and not thoroughly:
            return _Model("deals", deals)
        others = self._lists.probe("opportunities", accept=frozenset({403, 404}))
        if deals.has_rows:
            return _Model("deals", deals, (BOTH,) if others.has_rows else ())
        if others.has_rows:
            return _Model("opportunities", others, (UNSEEN,) if deals.answer.status == 403 else ())
        statuses = (deals.answer.status, others.answer.status)
        if 200 not in statuses:
            if 403 in statuses:
                raise Refused(UNREADABLE)
            raise Unintelligible(f"{self._lists.transport.host} knows neither deals nor opportunities; check base_url")
        return _Model(None, deals, (HIDDEN,) if 403 in statuses else ())

    def _walk(self, kind: Kind, sort: str, start: Place | None = None) -> OffsetWalk:
        return OffsetWalk(
            partial(self._lists.page, kind, sort),
            limit=self._options.page_size,
            overlap=self._options.page_overlap,
            order=BY_ID if sort == "_id" else NEWEST_FIRST,
            start=start,
        )

    def _everything(self, state: State, kind: Kind, notes: tuple[str, ...]) -> Iterator[Page]:
        """A full read for a pull. It leaves the watermark that the newest record had when the read began.

        One that was cut off may have begun long ago, so what changed since then is read as well.
        """
        if state.full is not None:
            place, then = state.full.place, state.full.then
        else:
            probe = self._lists.probe(kind)
            place, then = Place(), newest(probe.rows.records, probe.answer.requested_at)
        whole = Wholeness(self._lists, kind, None)
        for step in self._walk(kind, "_id", place).steps():
            rows = yield from whole.complete(step.fetched)
            after = State(model=kind, watermark=state.watermark, full=Full(*step.place, then=then), whole=whole.known)
            yield _page(step, rows, after, notes=_joined(notes, whole.notes, step.doubts))
        after = State(model=kind, watermark=later(state.watermark, then), whole=whole.known)
        yield Page(records=(), requested_at=self._now(), cursor=after.cursor(), notes=notes)
        if state.full is not None and after.watermark is not None and self._options.incremental == "auto":
            yield from self._newest_first(after, after.watermark, kind)

    def _newest_first(self, state: State, watermark: str, kind: Kind) -> Iterator[Page]:
        """Walk down from the newest change to the watermark less the overlap; the watermark moves at the end only."""
        floor = shifted(watermark, -self._options.overlap)
        whole = Wholeness(self._lists, kind, state.whole)
        began, top = "", None
        for step in self._walk(kind, "-updatedAt").steps():
            records = step.fetched.rows.records
            began = began or step.fetched.requested_at
            top = later(top, newest(records, began))
            rows = yield from whole.complete(step.fetched, since=floor)
            if step.doubts:
                yield _page(step, rows, None, notes=_joined((UNSORTED,), whole.notes))
                yield from self._everything(state, kind, (UNSORTED,))
                return
            done = any(record.version is not None and record.version < floor for record in records)
            after = State(model=kind, watermark=later(watermark, top), whole=whole.known)
            yield _page(step, rows, after if done else None, notes=whole.notes)
            if done:
                return
        after = State(model=kind, watermark=later(watermark, top), whole=whole.known)
        yield Page(records=(), requested_at=began or self._now(), cursor=after.cursor(), notes=whole.notes)


def _page(
    step: Step, rows: Sliced, after: State | None, *, notes: tuple[str, ...], doubts: tuple[str, ...] = ()
) -> Page:
    return Page(
        records=rows.records,
        spoiled=rows.spoiled,
        requested_at=step.fetched.requested_at,
        cursor=None if after is None else after.cursor(),
        notes=notes,
        doubts=doubts,
    )


def _joined(*lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for group in lines for line in group))
