"""Source: what a kind of CRM promises, and how its records are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias

import httpx
import msgspec
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from connectors.hints import Webhooks
from connectors.pacing import DAY, HOUR, MINUTE, Limit, Permits
from connectors.times import Duration

Cursor: TypeAlias = dict[str, Any]
"""A place in a source's changes, as a JSON object that only the source reads."""

Known: TypeAlias = "Callable[[Sequence[str]], Mapping[str, Record]]"
"""Gives the records of deals as they were last landed, by their ids; what never was, or is gone, is left out."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One object exactly as the source said it.

    `version` orders observations of one record and compares as text; None where the source gives none that can be
    trusted. `kind` is one of the source's kinds and picks the part of the mapping that reads it. `deleted` is the
    source's own word that the record is gone (a soft-deleted row, an entry of a delete feed); `raw` is then that word.
    """

    source_id: str
    version: str | None
    raw: bytes
    kind: str
    deleted: bool = False


class Spoiled(msgspec.Struct, frozen=True, gc=False):
    """A record that cannot even be told apart or read: parked by the pipeline, never a reason to lose its page."""

    source_id: str | None
    raw: bytes
    reason: str
    message: str


class Field(msgspec.Struct, frozen=True):
    """A custom field as the source defines it.

    `id` stays the same for ever, `record_key` is what stands in the records now (the id with a prefix, or the label
    itself), `label` is its name for people. The custom key it passes under is fixed when it is first seen, so
    relabelling it changes no deal.
    """

    id: str
    record_key: str
    label: str


class Entry(msgspec.Struct, frozen=True):
    """One object that deals refer to, by the key they refer by. `raw` is a JSON object of the fields worth having."""

    key: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one request brought.

    `requested_at` is the time just before the request was sent, by the database's clock (ISO 8601, ms, Z).
    `cursor` is committed together with the page: a run that dies resumes there. None leaves the checkpoint alone.
    `doubts` says why this read cannot be a witness of absence (a short list, a repeated page); empty when it can.
    `notes` tells the operator of a detour that cost nothing but time. `fields` defines custom fields that the source
    has named since the reader was opened; a page never bears a custom field before it is defined, if it ever is.
    """

    records: Sequence[Record]
    requested_at: str
    spoiled: Sequence[Spoiled] = ()
    cursor: Cursor | None = None
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The record as a get-one showed it. `fields` defines custom fields of it that were not defined before."""

    record: Record
    requested_at: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Absent:
    """A get-one did not show the record. Only with `proof` (404 or 410) may it count towards a delete."""

    proof: bool
    answer: str
    requested_at: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `dealsync check`: what was tried, whether it is well, what to do if not."""

    what: str
    ok: bool
    message: str
    fault: Literal["refused", "unavailable", "unintelligible", "misconfigured"] | None = None


class Reader(Protocol):
    """An opened connection. Every method may raise a `connectors.faults.Fault`."""

    def changed(self, cursor: Cursor | None) -> Iterator[Page]:
        """What changed since the cursor; everything when there is none."""
        ...

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        """A complete read, resumed at a cursor of an earlier complete read that was cut off."""
        ...

    def one(self, source_id: str) -> Found | Absent:
        """One record by its id."""
        ...

    def reference(self, name: str) -> Iterator[Sequence[Entry]]:
        """Everything of one kind of reference data (a name in the source's `references`), a page at a time.

        Entries of `users` bear `email` and `name` where the source has them. Raises `Misconfigured` for another name.
        """
        ...

    def check(self) -> Iterator[Finding]:
        """Try address, credentials, rights and the shape of a first page, each as one finding."""
        ...

    def close(self) -> None:
        """Give back the connections."""
        ...


class Options(BaseModel):
    """The settings every source has; a source's own model adds to them or sets other defaults.

    `page_size` and the limits count records and requests; None is no limit of ours. `overlap` is how far behind the
    watermark a pull reads again. `timeout` bounds each single wait of a request. `read_lag_limit` is how long a fetch
    goes on asking for what a hint has announced. `reference_refresh` is how old reference data may become.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount_unit: Literal["major", "minor"]
    page_size: int = Setting(default=100, ge=2, le=10_000)
    overlap: Duration = timedelta(minutes=10)
    requests_per_minute: int | None = Setting(default=None, ge=1, le=1_000_000)
    requests_per_hour: int | None = Setting(default=None, ge=1, le=1_000_000)
    requests_per_day: int | None = Setting(default=None, ge=1, le=10_000_000)
    timeout: Duration = Setting(default=timedelta(seconds=30), gt=timedelta(0))
    read_lag_limit: Duration = timedelta(minutes=15)
    reference_refresh: Duration = Setting(default=timedelta(hours=24), gt=timedelta(0))

    def readings(self) -> Mapping[str, Any]:
        """What these options decide about reading a record: keyword arguments of `mappings.rules.Rules`."""
        return {}

    def limits(self) -> Sequence[Limit]:
        """What all who use the account may send together: what the options state, or the source itself does."""
        limits = (
            (self.requests_per_minute, MINUTE),
            (self.requests_per_hour, HOUR),
            (self.requests_per_day, DAY),
        )
        return [Limit(count, seconds) for count, seconds in limits if count is not None]

    def least_interval(self) -> timedelta:
        """Pulls by schedule are at least so far apart, whatever `pull_every` says: what a small quota can bear."""
        return timedelta(0)


def nothing_known(_: Sequence[str]) -> Mapping[str, Record]:
    """No record was ever landed, or nobody can say."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a reader needs to know of a configured connection.

    `credentials` maps the configuration's key (`token`, `client_id`, `client_secret`) to the secret itself.
    `options` is the source's own options model, validated. `fields` maps each kind to the record keys that the
    mapping claims. `now` is the database's clock. `give_up_after_s` bounds how long a dead other side is retried.
    `transport` is for tests and the demo: requests go there instead of to the network. `permits` is asked before every
    request, and given back with the reader; without one, the reader keeps to the options' limits by itself. `known` is
    for a source whose lists show less than its single reads: what did not change need not be read by itself again.
    """

    name: str
    base_url: str
    credentials: Mapping[str, str] = field(repr=False)
    options: Options
    fields: Mapping[str, frozenset[str]]
    now: Callable[[], str]
    give_up_after_s: float = 30.0
    transport: httpx.BaseTransport | None = None
    permits: Permits | None = None
    known: Known = nothing_known


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """The source's own declaration, which the conformance kit holds against its simulator."""

    cursor: str
    delete_signal: Literal["none", "tombstone", "feed"]
    limits: str
    changes_silently: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A kind of CRM.

    `webhooks` says how its deliveries are verified by default and what they say. `references` names the reference
    data it has, each with what an entry is and by which key; `shows_emails` whether its users bear an e-mail address
    there, which `owners = "email"` needs. `simulator` makes its simulated server from a seed (see
    connectors/simulation.py).
    """

    name: str
    kinds: tuple[str, ...]
    options: type[Options]
    credentials: tuple[tuple[str, ...], ...]
    open: Callable[[Account], Reader]
    promises: Promises
    webhooks: Webhooks
    simulator: Callable[..., Any]
    references: Mapping[str, str] = field(default_factory=dict)
    shows_emails: bool = True
