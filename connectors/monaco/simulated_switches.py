"""What a simulated Monaco organization can be made to do: a switch for each behaviour the contract names or assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(slots=True, kw_only=True)
class Switches:
    """The settings of a simulated organization; sections are those of the contract. Any of them may be flipped at any
    time, but those under "records" decide what is made, so they only work on records made after."""

    # -- addresses (header of the contract, section 5)
    generation: Literal["both", "/v1", "/v1/preview"] = "both"
    """Which paths exist. A request for the other generation is answered 307."""
    trailing_slash: bool = False
    """Paths without a slash at their end are answered 307 to those with one."""
    redirect_host: str | None = None
    """Redirects lead to this host instead of the one that was asked: nobody should follow with a key."""

    # -- keys and rights (section 2)
    other_keys: frozenset[str] = frozenset()
    """More keys of the organization: they open what the first one does, and spend from the same hour."""
    forbidden: bool = False
    """The acting user may not read opportunities at all."""
    hidden: frozenset[str] = frozenset()
    """Ids that the acting user may not see: silently absent from lists, 403 when asked for."""

    # -- lists (section 3)
    max_page_size: int = 500
    over_limit: Literal["refuse", "clamp"] = "refuse"
    """A `page_size` above the maximum is answered 422, or silently lowered."""
    pages_of_nothing: Literal[0, 1] = 0
    """`total_pages` of an empty result."""
    ties: Literal["stable", "shuffled"] = "stable"
    """Records that share what they are sorted by come in one order, or in another one with every request."""
    cut_short_at: int | None = None
    """The list ends after this many rows although `total_count` tells of more."""

    # -- the schema and what it allows (sections 3.2, 3.3, 7)
    schema: Literal["plural", "singular", "none"] = "plural"
    """The name the entity has in `/schemas/{entity}`; none: 404 for both."""
    updated_at: Literal["present", "absent"] = "present"
    updated_at_sortable: bool = True
    updated_at_operators: tuple[str, ...] = ("before", "after", "is_empty", "is_not_empty")
    """What `allowed_operators` lists for `updated_at`; empty: it is not filterable."""
    refuses_dates: bool = False
    """A filter on a time is answered 422 although the schema lists it."""
    bound_is_exclusive: bool = True
    id_filterable: bool = False

    # -- get one (section 4)
    thin_get: frozenset[str] = frozenset()
    """Keys that a get-one leaves out although the list shows them."""
    malformed_ids: bool = True
    """An id that is not of the organization's form is answered 422 instead of 404."""

    # -- limits and errors (sections 11, 12)
    requests_per_hour: int | None = 1000
    rate_headers: Literal["always", "429", "none"] = "429"
    reset_in: Literal["s", "ms"] = "s"
    retry_after: bool = False
    details: Literal["string", "list"] = "string"
    """The shape of `detail` in a 422."""

    # -- time
    late_commit_s: float = 0.0
    """What is written becomes visible this many seconds after its `updated_at`."""

    # -- records (sections 4, 6, 9, 10)
    ids: Literal["uuid", "prefixed"] = "uuid"
    amount_unit: Literal["minor", "major"] = "minor"
    precision: Literal["s", "ms"] = "s"
    """Time stamps have whole seconds, so that several writes share one, or milliseconds."""
    missing_currency: float = 0.0
    """Share of records made with an amount that has no `currency_code`."""
    foreign_currency: float = 0.0
    """Share of records made in EUR, GBP or JPY instead of USD."""


SHAPES: Mapping[str, Sequence[Any]] = {
    "generation": ("both", "/v1", "/v1/preview"),
    "trailing_slash": (False, True),
    "pages_of_nothing": (0, 1),
    "ties": ("stable", "shuffled"),
    "schema": ("plural", "singular", "none"),
    "updated_at": ("present", "absent"),
    "updated_at_sortable": (False, True),
    "updated_at_operators": (("after",), ("greater_than",), ()),
    "refuses_dates": (False, True),
    "bound_is_exclusive": (False, True),
    "id_filterable": (False, True),
    "thin_get": (frozenset(), frozenset({"actual_close_date", "updated_at"}), frozenset({"estimated_value", "owner"})),
    "malformed_ids": (False, True),
    "details": ("string", "list"),
    "precision": ("s", "ms"),
}
"""Values of these switches among which no reader may notice a difference: whichever of them a tenant has, in the end
its deals are the same. What takes away a proof, or makes records that nobody can map, is not here."""
