"""Compare: what source, projection and ledger say of one deal, and what that comes to; values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

from connectors.times import instant
from deals.diff import DELETED
from deals.identity import canonical, decode_json
from deals.state import STANDARD, from_wire, json_value

_MONTH = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2]))-\d\d", re.ASCII)


class Face(NamedTuple):
    """What a state is counted under. `month` is the close date's, "" without one; so are `stage` and `owner`."""

    month: str
    currency: str
    stage: str
    owner: str
    amount_cents: int | None


class Read(NamedTuple):
    """The source's side of a deal: `state` is None where the deal is gone or its record cannot be mapped.

    `version` and `observed_at` are the record's own and the time of its request. `readable` is False for a record that
    cannot be mapped, `deleted` True for the source's own word that the deal is gone.
    """

    state: str | None
    version: str | None
    observed_at: str
    readable: bool = True
    deleted: bool = False


class Believed(NamedTuple):
    """The projection's side of a deal; `state` is its latest, also of a deleted deal (`alive` False).

    `waits`: an event of it is not in the ledger. `moved`: an event of it reached the ledger while we read.
    `remap`: it was read with another mapping than the one in force. `hinted`: somebody said to look at it.
    """

    alive: bool
    state: str
    version: str | None
    observed_at: str
    waits: bool = False
    moved: bool = False
    remap: bool = False
    hinted: bool = False


class Sight(NamedTuple):
    """One deal as all three sides show it, None where a side has never heard of it.

    `ledger` is the state of a deal that the ledger counts as living. `parked` says that a record of the deal is held
    back, `discarded` that this very record was put aside by a person.
    """

    source_id: str
    source: Read | None
    projection: Believed | None
    ledger: str | None
    parked: bool = False
    discarded: bool = False


@dataclass(frozen=True, slots=True)
class Light:
    """In which light a deal is seen. `since`: a version from then on may be newer than the last pull; None: nobody
    pulled. `started_at`: when the reading of the source began. `witness`: the read can vouch for absence."""

    since: str | None
    started_at: str
    witness: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """The sides differ for a reason that will pass, or that is shown elsewhere: nothing is wrong with the ledger yet.

    `why`: parked, waiting (for the ledger), moving (changed while we read), unread (the next pull reads it),
    unwitnessed (the source does not show it, but its read cannot vouch for absence).
    """

    why: Literal["parked", "waiting", "moving", "unread", "unwitnessed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A deal on which ledger and source disagree, or both of them with the projection (`where`).

    `kind` speaks of the ledger against the source: missing, extra or differs. Amounts are in minor units of the
    ledger's currency; `delta_cents` is the ledger's less the source's: what it would pay too much on. `remedy` is what
    a repair does: land the source's record, tell the ledger again, or nothing (an extra is never deleted for absence).
    """

    source_id: str
    kind: Literal["missing", "extra", "differs"]
    where: Literal["ledger", "projection", "both"]
    fields: tuple[str, ...]
    source_amount_cents: int | None
    ledger_amount_cents: int | None
    delta_cents: int
    remedy: Literal["land", "tell"] | None

    def as_json(self, prefix: str) -> dict[str, Any]:
        """The difference as scripts rely on it, under the deal's external id."""
        told = asdict(self)
        del told["source_id"], told["remedy"]
        return {"external_id": f"{prefix}:{self.source_id}", **told, "fields": list(self.fields)}


def judge(sight: Sight, light: Light) -> Pending | Difference | None:
    """What the sides of one deal come to; None when they agree."""
    source, held, ledger = sight.source, sight.projection, sight.ledger
    shown = source.state if source is not None else None
    believed = held.state if held is not None and held.alive else None
    if source is not None and not source.readable:
        idle = sight.discarded and believed is None and ledger is None
        return None if idle else Pending("parked")
    if shown == believed == ledger:
        return None
    if sight.parked:
        return Pending("parked")
    if held is not None and (held.waits or held.moved):
        return Pending("waiting" if held.waits else "moving")
    if shown != believed:
        if held is not None and held.observed_at > (source.observed_at if source is not None else light.started_at):
            return Pending("moving")
        if source is not None and _unread(source, held, light):
            return Pending("unread")
    if source is None and not light.witness and (held is None or held.alive):
        return Pending("unwitnessed")
    return _difference(sight, shown, believed)


def _unread(source: Read, held: Believed | None, light: Light) -> bool:
    """Whether the source changed the deal since the last pull, so that nobody has missed anything yet."""
    if held is not None and (held.remap or held.hinted):
        return True
    version = source.version
    if version is None or light.since is None or version != instant(version):
        return False
    return version >= light.since and (held is None or held.version != version)


def _difference(sight: Sight, shown: str | None, believed: str | None) -> Difference:
    ledger = sight.ledger
    kind: Literal["missing", "extra", "differs"] = "differs"
    if (shown is None) != (ledger is None):
        kind = "missing" if ledger is None else "extra"
    where: Literal["ledger", "projection", "both"] = "ledger" if shown == believed else "both"
    other = ledger
    if shown == ledger:
        where, other = "projection", believed
    fields = tuple(differing(shown, other)) if shown is not None and other is not None else ()
    ours, theirs = _amount(shown), _amount(ledger)
    remedy: Literal["land", "tell"] | None = "tell"
    if shown != believed:
        landable = sight.source is not None and (shown is not None or sight.source.deleted)
        remedy = "land" if landable else None
    elif sight.projection is None:
        remedy = None
    return Difference(sight.source_id, kind, where, fields, ours, theirs, (theirs or 0) - (ours or 0), remedy)


def differing(one: str, other: str) -> list[str]:
    """The fields in which two states differ, the standard ones first; null is not the same as absent."""
    left, right = decode_json(one), decode_json(other)
    names = [name for name in left.keys() | right.keys() if _said(left, name) != _said(right, name)]
    return sorted(names, key=lambda name: (STANDARD.index(name) if name in STANDARD else len(STANDARD), name))


def flat(state: Mapping[str, Any]) -> str:
    """The ledger's form of a state as we send it: custom keys beside the standard ones, numbers in shortest form."""
    custom = state.get("custom")
    merged = {**(custom if isinstance(custom, dict) else {}), **{name: state.get(name) for name in STANDARD}}
    try:
        merged = {name: json_value(value) for name, value in merged.items()}
    except (ValueError, TypeError):
        return canonical(merged).decode()  # nothing of ours: it will differ, and be shown as it is
    return canonical(merged).decode()


def sound(state: str) -> str:
    """A flat state of the ledger in a form that we can read back; what nobody can read is left out of it."""
    values = decode_json(state)
    try:
        from_wire(values)
    except (ValueError, TypeError):
        values = {name: value for name, value in values.items() if name in STANDARD or _is_json(value)}
        if not _is_day(values["close_date"]):
            values["close_date"] = None
        return canonical(values).decode()
    return state


def is_tombstone(state: Mapping[str, Any]) -> bool:
    """Whether a state, flat or as the ledger lists it, is what a deleted deal leaves behind."""
    custom = state.get("custom", state)
    return isinstance(custom, Mapping) and custom.get(DELETED) is True


def face(state: Mapping[str, Any], ledger_currency: str) -> Face:
    """What a flat state is counted under. What is not of its type counts as not there."""
    day, currency, amount = state.get("close_date"), state.get("currency"), state.get("amount_cents")
    found = _MONTH.match(day) if isinstance(day, str) else None
    return Face(
        month=found.group(1) if found else "",
        currency=currency if isinstance(currency, str) else ledger_currency,
        stage=_text(state.get("stage")),
        owner=_text(state.get("owner_external_id")),
        amount_cents=_whole(amount),
    )


def _amount(state: str | None) -> int | None:
    return None if state is None else _whole(decode_json(state).get("amount_cents"))


def _whole(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < _BEYOND else None


def _is_day(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (ValueError, TypeError):
        return False
    return True


def _is_json(value: Any) -> bool:
    try:
        json_value(value)
    except (ValueError, TypeError):
        return False
    return True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _said(state: Mapping[str, Any], name: str) -> bytes | None:
    return canonical(state[name]) if name in state else None


_BEYOND = 10**36
"""No amount that a source may send comes near it (deals/money.py)."""
