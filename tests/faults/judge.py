"""The judge: what must be true after quiet, asked of the simulators' own history and of the ledger's own tables.

Each question yields complaints, each with the invariant's number (docs/invariants.md); none means that all of it holds.
The counters that dealsync keeps of itself are not believed, but held against what the simulators served; its doctor is
not asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import httptools
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deals.identity import canonical, decode_json, state_bytes
from ledger.embedded import ORG
from ledger.engine import connect, reading
from ledger.verify import verify
from mappings.mapper import Mapper
from mappings.outcome import Mapped
from tests.faults.people import FORGED, TENANTS, Crm
from tests.faults.topology import CANARY, Topology

Row: TypeAlias = dict[str, Any]
GONE = b"gone"
"""Stands for the state of a deal that does not exist."""

UNREADABLE = None
"""Stands for a state that the mapping cannot read: it is parked, and the ledger never hears of it."""

READS_ON = timedelta(seconds=10)
"""So long may a process read on that slept through the loss of its lease, or was cut off with a page under way."""


@dataclass(frozen=True)
class Evidence:
    """Everything the judge looks at, read once."""

    crms: Mapping[str, Crm]
    mappers: Mapping[str, Mapper]
    told: Sequence[Row]
    store: Mapping[str, list[Row]]
    topology: Topology

    def lanes(self) -> dict[str, list[Row]]:
        """The events that the ledger holds of each deal, in the order it took them."""
        lanes: dict[str, list[Row]] = {}
        for row in self.told:
            lanes.setdefault(row["external_id"], []).append(row)
        return lanes

    def somebody_reads_on(self, connection: str, since: datetime, until: datetime) -> bool:
        """Whether a process went on after a sleep, or a run of the connection came to no good end, then or so shortly
        before that it may have been reading still: what it is served then, it does not land.
        """
        cut_off = [
            _moment(row["ended_at"])
            for row in self.store["runs"]
            if row["connection"] == connection and row["ended_at"] and row["kind"] != "fetch" and row["state"] != "done"
        ]
        return any(at <= until and since <= at + READS_ON for at in [*self.topology.awoke, *cut_off])

    def reading(self, name: str, record: Row | None) -> bytes | None:
        """What a deal of a tenant is worth telling the ledger, when a reader is shown this."""
        if record is None:
            return GONE
        mapped = self.mappers[name].map(self.crms[name].source.kinds[0], record)
        return state_bytes(mapped.state) if isinstance(mapped, Mapped) else UNREADABLE


def verdict(topology: Topology) -> list[str]:
    """Every complaint."""
    evidence = gathered(topology)
    return [complaint for question in QUESTIONS for complaint in question(evidence)]


def in_step(topology: Topology) -> list[str]:
    """What is still missing before it is quiet; nobody may be at work in the CRMs."""
    try:
        evidence = gathered(topology, witnesses=False)
    except DBAPIError as error:
        return [f"the store cannot be asked: {error}"]
    return [*ledger_is_source(evidence), *nothing_waits(evidence)]


def gathered(topology: Topology, *, witnesses: bool = True) -> Evidence:
    """Read both databases, past all relays; the `witnesses` have much to say after a while."""
    rows = asked(topology.ledger_url, {"told": TOLD})["told"]
    store = asked(topology.store_url, STORE | (topology.witnesses if witnesses else {}))
    labels: dict[str, dict[str, str]] = {name: {} for name in TENANTS}
    for row in store["labels"]:
        labels[row["connection"]][row["record_key"]] = row["key"]
    mappers = {name: mapper.with_labels(labels[name]) for name, mapper in topology.mappers.items()}
    return Evidence(topology.people.crms, mappers, rows, store, topology)


def asked(url: str, queries: Mapping[str, str]) -> dict[str, list[Row]]:
    """What a database says to some queries."""
    engine = connect(url)
    try:
        with reading(engine) as tx:
            return {name: [dict(row._mapping) for row in tx.execute(text(query))] for name, query in queries.items()}
    finally:
        engine.dispose()


TOLD = (
    "SELECT s.external_id, s.dedup_key, s.raw_body, d.event_type, d.sequence FROM ledger_domain_events d "
    "JOIN ledger_source_events s ON s.id = d.source_event_id ORDER BY d.sequence"
)
STORE = {
    "projection": "SELECT e.external_id, e.state FROM deals d JOIN events e USING (connection_id, source_id, revision)",
    "events": "SELECT external_id, revision, dedup_key, event_type, state, version, cause FROM events",
    "outbox": "SELECT source_id, revision, parked FROM outbox",
    "inbox": "SELECT c.name AS connection, body, inbox.state FROM inbox JOIN connections c ON c.id = connection_id",
    "parked": "SELECT c.name AS connection, source_id, stage, parked.reason FROM parked JOIN connections c "
    "ON c.id = connection_id WHERE parked.state = 'open'",
    "runs": "SELECT runs.*, c.name AS connection, (SELECT count(*) FROM events WHERE run_id = runs.id) AS decided "
    "FROM runs JOIN connections c ON c.id = connection_id ORDER BY runs.id",
    "labels": "SELECT c.name AS connection, record_key, key FROM custom_fields JOIN connections c "
    "ON c.id = connection_id",
}


# -- the questions


def nothing_waits(evidence: Evidence) -> Iterator[str]:
    """12: whatever was due is done, rung for or not."""
    if waiting := len(evidence.store["outbox"]):
        yield f"12 {waiting} events still wait in the outbox"
    if waiting := sum(row["state"] == "waiting" for row in evidence.store["inbox"]):
        yield f"12 {waiting} deliveries still wait in the inbox"


def ledger_is_source(evidence: Evidence) -> Iterator[str]:
    """7: the last thing the ledger was told of each deal is what its CRM shows, and nothing else is there."""
    last = {name: told(lane[-1]) for name, lane in evidence.lanes().items()}
    parked = {(row["connection"], row["source_id"]) for row in evidence.store["parked"] if row["stage"] == "record"}
    for name, crm in evidence.crms.items():
        shown = crm.shown()
        for deal in crm.past.states:
            held, wanted = last.pop(f"{name}:{deal}", GONE), evidence.reading(name, shown.get(deal))
            if wanted is UNREADABLE and (name, deal) not in parked:
                yield f"7 {name}:{deal} cannot be read, and is not parked"
            elif wanted is not UNREADABLE and (name, deal) in parked:
                yield f"7 {name}:{deal} can be read, and is parked"
            elif wanted is not UNREADABLE and held != wanted:
                yield f"7 {name}:{deal} is {_brief(wanted)} at its source, and {_brief(held)} in the ledger"
    yield from (f"7 the ledger holds {name}, which no source ever had" for name in last)


def projection_is_fold(evidence: Evidence) -> Iterator[str]:
    """7: what we believe of each deal is the last thing that the ledger was told of it."""
    last = {name: lane[-1] for name, lane in evidence.lanes().items()}
    for row in evidence.store["projection"]:
        held = last.pop(row["external_id"], None)
        if held is None or canonical(decode_json(row["state"])) != canonical(decode_json(held["raw_body"])["state"]):
            yield f"7 the projection of {row['external_id']} is not what the ledger was told last"
    yield from (f"7 the ledger holds {name}, which is not projected" for name in last)


def money_agrees(evidence: Evidence) -> Iterator[str]:
    """7: sums of money per connection, currency, stage and owner are those of the sources."""
    ours, theirs = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    readable = set()
    for name, crm in evidence.crms.items():
        for deal, record in crm.shown().items():
            if (state := evidence.reading(name, record)) is not None:
                readable.add(f"{name}:{deal}")
                cents = record.get("total" if crm.source.name == "planhat" else "value")
                owner = record.get("ownerId" if crm.source.name == "planhat" else "owner_id")
                key = (name, record.get("currency") or "USD", decode_json(state)["stage"], owner)
                theirs[key] += 0 if cents is None else round(cents * 100)
    for external_id, lane in evidence.lanes().items():
        state = decode_json(lane[-1]["raw_body"])["state"]
        if external_id in readable:
            key = (
                external_id.partition(":")[0],
                state.get("currency", "USD"),
                state["stage"],
                state["owner_external_id"],
            )
            ours[key] += state["amount_cents"] or 0
    for key in ours.keys() | theirs.keys():
        if ours[key] != theirs[key]:
            yield f"7 {key}: the source has {theirs[key]} cents, the ledger {ours[key]}"


def revisions_in_order(evidence: Evidence) -> Iterator[str]:
    """5: per deal the ledger took revisions 1..n, in that order."""
    for name, lane in evidence.lanes().items():
        revisions = [int(row["dedup_key"].rsplit(":", 2)[1]) for row in lane]
        if revisions != list(range(1, len(lane) + 1)):
            yield f"5 {name}: the ledger took revisions {revisions}"


def keys_used_once(evidence: Evidence) -> Iterator[str]:
    """4: each key once in the ledger, each of our events there, and no attempt ever carried a key with other bytes."""
    keys = Counter(row["dedup_key"] for row in evidence.told)
    yield from (f"4 the ledger has {key} {times} times" for key, times in keys.items() if times > 1)
    decided = {row["dedup_key"]: row for row in evidence.store["events"]}
    yield from (f"4 the ledger has {key}, which was never decided" for key in keys.keys() - decided.keys())
    yield from (f"4 {key} was decided and is not in the ledger" for key in decided.keys() - keys.keys())
    for row in evidence.told:
        sent, ours = decode_json(row["raw_body"]), decided.get(row["dedup_key"])
        if ours is not None and (canonical(sent["state"]).decode(), sent["event_type"]) != (
            ours["state"],
            ours["event_type"],
        ):
            yield f"4 {row['dedup_key']} is in the ledger with other contents than were decided"
    if evidence.topology.embedded:
        return  # nothing is sent to a ledger that shares our transactions
    attempts: dict[str, set[bytes]] = {}
    for event in attempted(evidence.topology.sent_to_ledger):
        attempts.setdefault(event["dedup_key"], set()).add(canonical(event))
    yield from (f"4 {key} was sent with {len(said)} contents" for key, said in attempts.items() if len(said) > 1)
    yield from (f"4 {key} is in the ledger and was never sent" for key in keys.keys() - attempts.keys())


def only_what_the_source_said(evidence: Evidence) -> Iterator[str]:
    """3, 6: what the ledger was told of a deal is what a reader could have seen of it, in that order, some left out.

    Nothing is told twice, nothing older after something newer, nothing that never was. Where a source keeps a history
    of stages, each field is followed for itself: a stage between two reads is told with what else is known.
    """
    lanes = evidence.lanes()
    for name, crm in evidence.crms.items():
        for deal, records in crm.past.states.items():
            seen = [state for record in records if (state := evidence.reading(name, record)) is not None]
            said = [told(row) for row in lanes.get(f"{name}:{deal}", [])]
            ways: list[Callable[[bytes], Any]] = [lambda state: state]
            if crm.source.name == "cpod":
                ways = [_part("amount_cents"), _part("stage")]
            for way in ways:
                if not _is_part_of(_runs(map(way, said)), [*map(way, seen)]):
                    yield f"6 {name}:{deal} was told otherwise than it came about: {_story(said)} of {_story(seen)}"
                    break
            if len(ways) == 1 and len(_runs(said)) != len(said):
                yield f"3 {name}:{deal}: the same state was told twice in a row"


def accepted_is_kept(evidence: Evidence) -> Iterator[str]:
    """1: every delivery that was answered 2xx is in the inbox, byte for byte."""
    kept = {(row["connection"], bytes(row["body"])) for row in evidence.store["inbox"]}
    for one in evidence.topology.people.log:
        if 200 <= one.status < 300 and (one.connection, one.body) not in kept:
            yield f"1 {one.connection}: answered {one.status}, and not in the inbox: {one.body[:120]!r}"


def forgeries_are_nothing(evidence: Evidence) -> Iterator[str]:
    """13: what nobody at the vendor's sent is refused, or not answered, and leaves no trace."""
    sent = {(one.connection, one.body) for one in evidence.topology.people.log}
    yield from (
        f"13 a forgery was answered {status}"
        for status in evidence.topology.people.forgeries
        if status != 401 and status < 500
    )
    for row in evidence.store["inbox"]:
        if FORGED in bytes(row["body"]) or (row["connection"], bytes(row["body"])) not in sent:
            yield f"13 {row['connection']}: the inbox holds what its vendor never sent"


def tenants_are_apart(evidence: Evidence) -> Iterator[str]:
    """Nothing of one tenant is told in another's name: their deals have the same ids, and names of their own."""
    for name in evidence.lanes():
        connection, _, deal = name.partition(":")
        if deal not in evidence.crms[connection].past.states:
            yield f"7 {name} is a deal of another tenant"


def checkpoints_move_with_their_pages(evidence: Evidence) -> Iterator[str]:
    """2: wherever a checkpoint was ever put, its run landed something in that very transaction; and as far as it says
    that the source was read, by ids or by times, whatever the source shows had landed by then.

    Deals that ever were away are left out of the latter: what they were meanwhile, nobody could read. So is a deal that
    was written again before the run that moved the checkpoint had ended: a list by times shows it at its other end by
    then, and the mark is before it, so that the next pull reads it.
    """
    written = {name: _writes(crm) for name, crm in evidence.crms.items()}
    ended = {row["id"]: row["ended_at"] for row in evidence.store.get("runs", [])}
    landed: dict[tuple[str, str], str] = {}
    marks: dict[str, str] = {}
    rows = [*evidence.store.get("places", []), *evidence.store.get("landings", [])]
    for row in sorted(rows, key=itemgetter("at")):
        name = row["connection"]
        if "cursor" not in row:
            deal = name, row["source_id"]
            landed[deal] = max(row["version"] or "", landed.get(deal, ""))
            continue
        if not row["landed"]:
            yield f"2 the checkpoint {row['stream']} of {name} moved without its run {row['run_id']} landing anything"
        cursor = json.loads(row["cursor"]) if row["stream"] == "pull" else {}
        for deal in _passed(evidence.crms[name], cursor) & written[name].keys():
            if (name, deal) not in landed:
                yield f"2 the checkpoint of {name} is beyond {deal}, which had not landed: {row['cursor']}"
        mark = cursor.get("watermark")
        if mark not in (None, marks.get(name)):
            marks[name] = mark
            marked, until = _moment(mark), _moment(ended.get(row["run_id"]) or mark)
            for deal, writes in written[name].items():
                before = [write.version for write in writes if write.at <= marked and write.alone]
                again = any(marked < write.at <= until for write in writes)
                if before and not again and landed.get((name, deal), "") < max(before):
                    yield f"2 the checkpoint of {name} says {mark}, and {deal} as of {max(before)} had not landed"


def _passed(crm: Crm, cursor: Mapping[str, Any]) -> set[str]:
    """The deals that were there from the beginning and lie before the place of a complete read under way."""
    if crm.source.name == "planhat":
        last = cursor.get("full", {}).get("last")
        return {deal for deal in crm.first if last is not None and deal <= last}
    last = cursor.get("scan", {}).get("place", {}).get("last")
    return {deal for deal in crm.first if last is not None and deal >= last}


class _Write(NamedTuple):
    """A deal was written; `version` is the one it had then as we keep it. Where it was not `alone` in its instant,
    the newest of them may have come after somebody had read up to it.
    """

    at: datetime
    version: str
    alone: bool


def _writes(crm: Crm) -> dict[str, list[_Write]]:
    """What was written of each deal that was never away."""
    found: dict[str, list[tuple[datetime, str]]] = {}
    for deal, records in crm.past.states.items():
        for record in filter(None, records):
            planhat = crm.source.name == "planhat"
            version = record["updatedAt"] if planhat else f"{record['version']:012}"
            found.setdefault(deal, []).append((_moment(record["updatedAt" if planhat else "updated_at"]), version))
    at_once = Counter(at for writes in found.values() for at, _ in writes)
    return {
        deal: [_Write(at, version, at_once[at] == 1) for at, version in writes]
        for deal, writes in found.items()
        if None not in crm.past.states[deal]
    }


def rows_are_conserved(evidence: Evidence) -> Iterator[str]:
    """9: whatever a run read became something; and it read what the simulator served it.

    A page may be served twice, when it is asked for again or its answer came too late: so a run counts no more rows
    than were served while it lasted, and no fewer than there were different deals in the lists, if it came to its end
    and nobody who had lost the connection's lease was reading on beside it.
    """
    for row in evidence.store["runs"]:
        which = f"{row['kind']} {row['id']} of {row['connection']}"
        became = sum(row[what] for what in ("applied", "unchanged", "superseded", "parked", "out_of_scope"))
        if row["read"] != became:
            yield f"9 {which} read {row['read']} rows, and {became} became something"
        if row["events"] != row["decided"]:
            yield f"9 {which} counts {row['events']} events, and {row['decided']} were decided"
        if row["state"] == "done" and row["kind"] in ("pull", "sweep"):
            since, until = _moment(row["started_at"]), _moment(row["ended_at"]) + timedelta(milliseconds=1)
            shown = [one.ids for one in evidence.crms[row["connection"]].served if since <= one.at <= until]
            most, least = sum(map(len, shown)), len({deal for ids in shown if len(ids) > 1 for deal in ids})
            if evidence.somebody_reads_on(row["connection"], since, until):
                least = 0
            if not least <= row["read"] <= most:
                yield f"9 {which} counts {row['read']} rows, and was served {most}, of {least} deals"


def leases_are_fenced(evidence: Evidence) -> Iterator[str]:
    """11: whoever has lost its lease moves no checkpoint after its successor, and lands nothing."""
    latest: dict[tuple[int, str], int] = {}
    for row in evidence.store.get("moves", []):
        stream = row["connection_id"], row["stream"]
        if row["run_id"] < latest.get(stream, 0):
            yield f"11 run {row['run_id']} moved checkpoint {stream} after run {latest[stream]} had"
        latest[stream] = max(row["run_id"], latest.get(stream, 0))
    for row in evidence.store.get("risen", []):
        yield f"11 {row['kind']} {row['run_id']} went on although its lease was taken from it"


def chain_holds(evidence: Evidence) -> Iterator[str]:
    """15: the ledger's chain verifies, and its projection is the fold of its events."""
    engine = connect(evidence.topology.ledger_url)
    found = verify(engine, ORG)
    engine.dispose()
    if not found.ok:
        yield f"15 the ledger is damaged: {found.first_bad}"


def secrets_are_kept(evidence: Evidence) -> Iterator[str]:
    """14: no process has logged a secret."""
    said = evidence.topology.said()
    if CANARY in said or evidence.topology.ledger_key in said:
        yield "14 a secret is in the logs"


def nobody_met_a_bug(evidence: Evidence) -> Iterator[str]:
    """What goes wrong elsewhere is a fault with a name; whatever else is raised is ours."""
    lines = evidence.topology.said().splitlines()
    for at, line in enumerate(lines):
        logged = line.startswith("{") and '"level": "error"' in line
        bug = any(sign in line for sign in BUGS) if logged else line.startswith("Traceback (most recent")
        told = line[:600] if logged else "\n".join([line, *takewhile(_is_plain, lines[at + 1 :])])
        if bug and not any(named in told for named in NO_BUGS):
            yield f"a bug was met: {told}"


def _is_plain(line: str) -> bool:
    return not line.startswith("{")


BUGS = ("raised unexpected", '"heed.crashed"', '"doorbell.crashed"', '"crashed"', "Exception in")
NO_BUGS = ("WorkerLostError", "Terminated", "SystemExit: -241", "in on_loop_start")
"""What Celery raises about a child that was killed, in one that is to end (241 stands for SIGTERM), or in one
that has just begun and finds nobody to tell: its worker was killed."""


QUESTIONS: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    nothing_waits,
    ledger_is_source,
    projection_is_fold,
    money_agrees,
    revisions_in_order,
    keys_used_once,
    only_what_the_source_said,
    accepted_is_kept,
    forgeries_are_nothing,
    tenants_are_apart,
    checkpoints_move_with_their_pages,
    rows_are_conserved,
    leases_are_fenced,
    chain_holds,
    secrets_are_kept,
    nobody_met_a_bug,
)


# -- reading what there is


def told(row: Row) -> bytes:
    """A state as it was sent, or `GONE` for a tombstone."""
    state = decode_json(row["raw_body"])["state"]
    return GONE if state.get("deleted") else canonical(state)


def attempted(connections: Sequence[Sequence[bytes]]) -> Iterator[Row]:
    """Every event in every request that reached the ledger's door, answered or not."""
    for parts in connections:
        bodies = _Bodies()
        parser = httptools.HttpRequestParser(bodies)
        parser.feed_data(b"".join(parts))
        for body in bodies.whole:
            said = decode_json(body)
            yield from said.get("events", [said])


class _Bodies:
    """The bodies of the requests on one connection; a request that was cut short has none."""

    def __init__(self) -> None:
        self.whole: list[bytes] = []
        self._parts: list[bytes] = []

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._parts:
            self.whole.append(b"".join(self._parts))
        self._parts = []


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _part(field: str) -> Callable[[bytes], Any]:
    return lambda state: state if state == GONE else json.loads(state)[field]


def _runs(states: Iterable[Any]) -> list[Any]:
    """The states without those that are the same as the one before."""
    found: list[Any] = []
    for state in states:
        if not found or found[-1] != state:
            found.append(state)
    return found


def _is_part_of(said: Sequence[Any], seen: Sequence[Any]) -> bool:
    """Whether all that was said was seen, in that order, whatever else was seen between."""
    following = iter(seen)
    return all(one in following for one in said)


def _brief(state: bytes | None) -> str:
    if state is None or state == GONE:
        return "unreadable" if state is None else "gone"
    found = json.loads(state)
    return f"{found['amount_cents']} {found['stage']}"


def _story(states: Sequence[bytes | None]) -> str:
    return " > ".join(map(_brief, states)) or "nothing"
