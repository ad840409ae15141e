"""What a simulated Planhat tenant can be made to do: one switch for each behaviour the contract names or assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

ModelName: TypeAlias = Literal["deals", "opportunities"]


@dataclass(slots=True, kw_only=True)
class Switches:
    """The settings of a simulated tenant; sections are those of the contract. Any of them may be flipped at any time,
    but those under "records" decide what is made, so they only work on records made after."""

    # -- the resource (section 1)
    model: ModelName = "deals"
    """The pipeline object this tenant works with. Fixed once the simulator is made."""
    no_deal_model: Literal["403", "404", "empty"] | None = None
    """`/deals` answers as for a tenant without the 2026 models; None: it exists, unless `model` is opportunities."""

    # -- the cluster (section 2)
    host: str | None = None
    """The only host that knows the token; asked under another name the API answers 401. None: any will do."""

    # -- rights (section 3)
    forbidden: bool = False
    """The app may not read the model at all: 403 for every read of it."""
    hidden: frozenset[str] = frozenset()
    """Ids the app may not see: silently absent from lists, 403 when asked for."""
    unwritable: frozenset[str] = frozenset()
    """Ids of records and companies the app may not write to."""

    # -- lists (section 4)
    default_limit: int = 100
    max_limit: int = 2000
    over_limit: Literal["clamp", "refuse"] = "clamp"
    """A `limit` above the maximum is silently lowered to it, or answered 400."""
    ignored_params: frozenset[str] = frozenset()
    """Parameters this server pays no heed to: `sort`, `offset`, `select`, `limit`, `companyId`."""
    refuse_unknown_params: bool = False
    """Unknown parameters are answered 400 instead of being ignored."""
    thin_rows: Literal["never", "unselected", "always"] = "never"
    """List rows lack some fields: unless `select` names them, or even then. Get-one has them all."""

    # -- get one and errors (sections 5, 13)
    not_found: Literal["404", "400", "null", "{}"] = "404"
    empty_id_falls_through: bool = True
    """`GET /deals/` answers the list; otherwise 404."""
    string_errors: bool = False
    """Error bodies are plain text instead of an object."""
    requests_per_minute: int | None = None
    """More requests than this within a minute of simulated time are answered 429."""
    rate_headers: Literal["none", "x-rate-limit", "retry-after"] = "none"
    """What a 429 tells: nothing, the headers of 2017, or `Retry-After` in seconds."""

    # -- writes (section 6)
    write_504: bool = False
    """Writes are applied, but a gateway answers 504."""
    created_status: Literal[200, 201] = 200
    thin_put: bool = True
    """A PUT of one answers with a reduced object."""
    null_clears: bool = True
    """A null clears a scalar; otherwise it is ignored."""
    custom_merges: bool = True
    """`custom` is merged key by key; otherwise replaced."""
    error_items: Literal["mixed", "string", "object"] = "mixed"
    """What the error arrays of a bulk upsert hold."""
    bulk_500_after: int | None = None
    """A bulk upsert dies with a 500 after this many items, which stay applied."""
    delete_unknown: Literal["200", "404"] = "200"
    delete_body: Literal["json", "empty", "text"] = "json"

    # -- time
    late_commit_s: float = 0.0
    """What is written becomes visible this many seconds after its `updatedAt`."""

    # -- records (sections 7, 8, 11)
    missing_currency: float = 0.0
    """Share of records made without a currency."""
    foreign_currency: float = 0.0
    """Share of records made in EUR, GBP or JPY instead of USD."""
    undefined_custom: float = 0.0
    """Share of records made with the text "undefined" as a custom value."""
    day_as: Literal["integer", "iso"] = "integer"
    """Custom fields of type `day` hold days since 1970-01-01, or an ISO string."""


SHAPES: Mapping[str, Sequence[Any]] = {
    "max_limit": (2000, 4),
    "thin_rows": ("never", "unselected", "always"),
    "empty_id_falls_through": (False, True),
    "string_errors": (False, True),
    "day_as": ("integer", "iso"),
}
"""Values of these switches among which no reader may notice a difference: whichever of them a tenant has, in the end
its deals are the same. What takes away a proof, or makes records that nobody can map, is not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """How one pipeline object is shaped (section 7)."""

    path: ModelName
    parent: str
    title: str
    currency: str
    stage: str
    keys: frozenset[str]
    computed: frozenset[str]
    dates: frozenset[str]
    thin_put: tuple[str, ...]
    thin_row: frozenset[str] = field(default=frozenset({"custom", "currency", "_currency", "ownerId", "comment"}))


_AUTO = frozenset({"_id", "companyName", "createdAt", "updatedAt", "__v", "path"})
_DEAL_AUTO = _AUTO | {
    "arr", "renewalDate", "startDate", "endDate", "subscriptionsCount", "feesCount", "activeSubscriptionsCount",
}  # fmt: skip
_SHARED = frozenset({"companyId", "externalId", "sourceId", "ownerId", "mrr", "arr", "closeDate", "custom"})

MODELS: dict[ModelName, Model] = {
    "deals": Model(
        path="deals",
        parent="Deal",
        title="name",
        currency="currency",
        stage="stage",
        keys=_DEAL_AUTO | _SHARED | {"name", "stage", "followers", "total", "fees", "currency", "comment"},
        computed=_DEAL_AUTO,
        dates=frozenset({"closeDate"}),
        thin_put=("_id", "name", "companyId", "companyName", "stage", "mrr", "arr", "closeDate", "updatedAt"),
    ),
    "opportunities": Model(
        path="opportunities",
        parent="Opportunity",
        title="title",
        currency="_currency",
        stage="salesStage",
        keys=_AUTO
        | _SHARED
        | {"title", "salesStage", "status", "nrr", "_currency", "dealDate", "landingDate", "contractLength"}
        | {"stageHistory"},
        computed=_AUTO | {"stageHistory"},
        dates=frozenset({"dealDate", "landingDate", "closeDate"}),
        thin_put=("_id", "title", "companyId", "companyName", "salesStage", "status", "mrr", "arr", "updatedAt"),
    ),
}
