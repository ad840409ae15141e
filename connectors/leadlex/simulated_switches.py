"""What a simulated LeadLex workspace can be made to do: one switch for each behaviour the contract names or assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(slots=True, kw_only=True)
class Switches:
    """The settings of a simulated workspace; sections are those of the contract. Any of them may be flipped at any
    time, but those under "records" decide what is made, so they only work on records made after."""

    # -- the key (section 2)
    expires_at: datetime | None = None
    """From then on every call is answered 401 `invalid_key`."""
    forbidden: frozenset[str] = frozenset()
    """Resources the key may not read (403): `deals`, `users`, `companies`, `webhooks`, `export`."""
    admin: bool = False
    """The key may read the audit log; otherwise 403."""

    # -- lists (section 3)
    max_per_page: int = 100
    over_limit: Literal["clamp", "refuse"] = "clamp"
    """A `per_page` above the maximum is silently lowered to it, or answered 400."""
    order: Literal["stable", "unstable"] = "stable"
    """Rows come in an order that means nothing but stays, or in another one with every request."""
    inclusive: bool = True
    """Whether `*_after` and `*_before` show the rows of that very moment."""
    null_is_updated: bool = False
    """`updated_after` shows deals that were never edited as well."""
    ignored_params: frozenset[str] = frozenset()
    """Parameters this server pays no heed to, such as `created_before`."""
    bad_dates: Literal["refuse", "ignore"] = "refuse"
    """An unparsable date gives 400, or is ignored."""
    thin_rows: bool = False
    """List rows lack keys that get-one has."""
    total: Literal["honest", "absent", "stale"] = "honest"
    """`meta.total` is there, missing, or that of a while ago."""

    # -- words (section 6)
    words: Literal["documented", "list", "get"] = "list"
    """Lists say `active` and stage names, get-one `open` and slugs; or both say the one, or both the other."""

    # -- get one and errors (sections 5, 12)
    not_found_code: Literal["not_found", "deal_not_found"] = "not_found"
    bare_one: bool = False
    """Get-one answers the deal directly under `data`."""
    bare_errors: bool = False
    """Errors come as a gateway tells them: another shape of JSON."""

    # -- limits (section 11)
    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    """None: no limit, and no `X-RateLimit-*` headers."""
    retry_after: bool = False
    """Whether a 429 bears `Retry-After`."""
    exports_per_hour: int = 10

    # -- CSV (section 15)
    csv_ids: Literal["same", "other"] = "same"
    """Exports carry the ids of the JSON, or others that join with nothing."""
    csv_bom: bool = False
    csv_cut: Literal["never", "mid_row", "between_rows"] = "never"
    """The stream ends early, with status 200 all the same."""
    csv_extra_fields: bool = False
    """`fields` accepts columns beyond the default ones."""

    # -- time (section 16)
    late_commit_s: float = 0.0
    """What is written becomes visible this many seconds after its `updated_date`."""
    date_header: bool = False
    """Whether answers tell the time. Simulated time lies in the past, so to the check it is a clock that is wrong."""
    fractions: bool = False
    """Times are written with microseconds and `+00:00`."""

    # -- records (sections 6, 10)
    currency: str = "USD"
    missing_currency: float = 0.0
    lower_currency: float = 0.0
    null_value: float = 0.0
    extra_keys: bool = False
    """Records bear keys that nobody has documented."""

    # -- webhooks (section 13)
    payload: Literal["object", "bare", "partial"] = "object"
    """The deal lies in `data.deal`, directly in `data`, or only some of its keys do."""
    deleted_as: Literal["deal", "id", "deal_id"] = "deal"
    """`deal.deleted` bears `data.deal.id`, `data.id` or `data.deal_id`."""
    bulk_as: Literal["deals", "ids", "deal_ids", "items"] = "deals"
    """A bulk event lists objects under `deals` or `items`, or ids under `deals` or `deal_ids`."""
    fresh_delivery_ids: bool = True
    """Each attempt of a delivery has an id of its own."""
    fresh_header_time: bool = True
    """The unsigned timestamp header tells the time of the attempt, not that of the event."""


SHAPES: Mapping[str, Sequence[Any]] = {
    "over_limit": ("clamp", "refuse"),
    "order": ("stable", "unstable"),
    "inclusive": (False, True),
    "null_is_updated": (False, True),
    "thin_rows": (False, True),
    "words": ("documented", "list", "get"),
    "not_found_code": ("not_found", "deal_not_found"),
    "bare_one": (False, True),
    "bare_errors": (False, True),
    "date_header": (False, True),
    "fractions": (False, True),
    "extra_keys": (False, True),
}
"""Values of these switches among which no reader may notice a difference: whichever of them a tenant has, in the end
its deals are the same. What takes away a proof, or makes records that nobody can map, is not here."""
