"""LeadLex's cursor: how far the source's clock was read, and where a read under way stands."""

from __future__ import annotations

from typing import Literal

import msgspec

from connectors.committed import Committed

Road = Literal["all", "updated", "created"]
"""Which deals a walk reads: all, those edited since a time, those created since a time."""


class Scan(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a walk over windows of the creation date stands.

    Everything created before `after` is read; `width_s` is how wide the next window is, None without an end.
    `counted` deals were read so far; `total` is how many the list said it had when the walk began.
    """

    after: str | None = None
    width_s: int | None = None
    counted: int = 0
    total: int | None = None
    doubts: tuple[str, ...] = ()


class Log(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where the audit log is read on: after `row` rows of its `page`. `names` are the newest entries dealt with."""

    page: int = 1
    row: int = 0
    names: tuple[str, ...] = ()


class Under(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A read under way. `floor` is the time since which changes are read; `then` the watermark that it will leave.

    For a source that does not tell its time, `top` stands in: the newest `updated_date` seen that is not later than
    `began`, the time just before the first request by the database's clock. `log` is set once the walks have come to
    their end, and the audit log is read.
    """

    road: Road
    floor: str | None = None
    scan: Scan = Scan()
    then: str | None = None
    top: str | None = None
    began: str | None = None
    log: Log | None = None


class State(Committed, frozen=True):
    """What the cursor holds.

    `watermark` is the time up to which all changes were read. `under` is a pull that was cut off, `sweep` a complete
    read that was. `missing` names the keys that lists leave out of rows, once that was found out for the keys named
    by `judged`. `audited` are the entries of the audit log within the overlap that were dealt with.
    """

    watermark: str | None = None
    under: Under | None = None
    sweep: Scan | None = None
    judged: str | None = None
    missing: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()
