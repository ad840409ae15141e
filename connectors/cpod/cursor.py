"""cPod's cursor: what pages look like, which rows are asked for, and where a read under way stands."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from connectors.committed import Committed
from connectors.cpod.envelope import Shape

Hide: TypeAlias = Literal["both", "include_deleted", "includeDeleted", "none", "named"]
"""How deleted rows are asked for: by both names at once, by one, not at all, or by the name that was set."""


class Place(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a list is read on: at a cursor, or at a numbered page.

    `last` is the id of the last row read, by which numbered pages are joined again. `rows` counts what was read,
    `total` is what the first page said of the whole list.
    """

    cursor: str | None = None
    page: int = 1
    last: str | None = None
    rows: int = 0
    total: int | None = None


class Scan(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A read under way.

    `whole` marks a sweep's, which a pull must not go on with, nor the other way round. `since` is what the
    changed-since parameter was set to. `living` counts rows that are not deleted; `owner` is the one all of them have,
    "" before the first, None once there are several. `newest` is the newest `updated_at` among them, `newest_id` whose
    it is. `seen` says that the deal came which a read by the changed-since parameter has to show.
    """

    began: str
    whole: bool
    place: Place = Place()
    since: str | None = None
    ignored: bool = False
    living: int = 0
    deleted: int = 0
    owner: str | None = ""
    newest: str | None = None
    newest_id: str | None = None
    seen: bool = False


class State(Committed, frozen=True):
    """What the cursor holds.

    `watermark` is the newest `updated_at` up to which everything was read, `witness` the deal that had it: asked for
    what changed since, cPod has to show at least that one. `most` is the largest number of living rows that a complete
    read has shown.
    """

    shape: Shape | None = None
    hide: Hide | None = None
    watermark: str | None = None
    witness: str | None = None
    most: int = 0
    scan: Scan | None = None
