"""What a simulated cPod tenant can be made to do: one switch for each behaviour the contract names or assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(slots=True, kw_only=True)
class Switches:
    """The settings of a simulated tenant; sections are those of the contract. Any of them may be flipped at any time,
    but those under "records" decide what is made, so they only work on records made after."""

    # -- tokens (section 2)
    token_life_s: int = 3600
    camel_token: bool = False
    """The token endpoint answers `accessToken` and `expiresIn`."""
    refresh_token: bool = False
    """The token endpoint's answer bears a refresh token as well."""
    app_id: str | None = None
    """The client is an application's: its tokens bear this, what it writes is stamped, and it sees only that."""
    own_records: bool = False
    """Lists and get-one show only what the caller has created."""
    forbidden: bool = False
    """The client may not read deals at all: 403."""
    hidden: frozenset[str] = frozenset()
    """Ids of deals that the caller may not see: absent from lists, 404 when asked for."""

    # -- lists (section 3)
    envelope: Literal["current", "legacy_items", "legacy_people", "bare_data"] = "current"
    """`{data,next_cursor,has_more,total}`, `{items,nextCursor,total}`, `{data,hasMore}` by pages, `{data}` by pages."""
    camel: bool = False
    """The current envelope and its parameters in camelCase."""
    paging: Literal["cursor", "page"] = "cursor"
    """How the current envelope pages."""
    show_total: bool = True
    max_limit: int = 500
    over_limit: Literal["clamp", "refuse"] = "clamp"
    page_size_ignored: bool = False
    """Pages have 50 rows, whatever is asked for."""
    cursor_life_s: int | None = 3600
    """A cursor older than this is answered 400. None: they live for ever, which a tenant needs that is read over some
    days of a small quota."""
    ignored_params: frozenset[str] = frozenset()
    """Parameters this server pays no heed to although it knows them: `stage`, `include_deleted`, `updated_after`..."""
    refuse_unknown_params: bool = False
    """Unknown parameters are answered 422 instead of being ignored."""
    include_deleted: Literal["include_deleted", "includeDeleted"] | None = "include_deleted"
    """The parameter that brings deleted rows back; None: there is none."""
    only_deleted: bool = False
    """That parameter shows deleted rows and no others."""
    changed_since: str | None = None
    """The name of the changed-since parameter; None: there is none."""
    late_commit_s: float = 0.0
    """A write becomes visible to readers only after so many seconds."""

    # -- get one, errors, limits (sections 4, 11, 12)
    wrapped_one: bool = False
    """A get-one answers `{"data": {...}}`."""
    deleted_one: Literal["404", "200"] = "404"
    """What a get-one of a deleted deal answers."""
    errors: Literal["detail", "list", "error", "message", "text", "html"] = "detail"
    requests_per_minute: int | None = None
    rate_headers: Literal["none", "retry-after", "date", "x-ratelimit"] = "retry-after"

    # -- writes (sections 5, 6, 15)
    strict_writes: bool = True
    """Unknown fields of a write are answered 422."""
    idempotency: bool = False
    """A repeated `Idempotency-Key` answers what the first one did."""
    reopening_clears: bool = True
    """Reopening a closed deal takes its `actual_close_date` away."""
    version_moves: bool = True
    """A change raises `version`."""

    # -- webhooks and logs (section 13)
    audit_scope: bool = False
    """The caller may read the audit events; otherwise 403."""

    # -- people (section 8)
    users_listed: bool = True
    """The members of the tenant can be listed; otherwise 404."""

    # -- records
    ids: Literal["deal_ulid", "deal-uuid", "uuid"] = "deal_ulid"
    money_as_text: bool = False
    quoted_json: bool = False
    """`custom_fields`, `tags`, `contact_ids` and `audit_log` are JSON inside a text."""
    audit_log: bool = True
    audit_log_order: Literal["oldest", "newest"] = "oldest"
    """Which entry of the `audit_log` comes first."""
    missing_currency: float = 0.0
    foreign_currency: float = 0.0


SHAPES: Mapping[str, Sequence[Any]] = {
    "envelope": ("current", "legacy_items", "legacy_people", "bare_data"),
    "camel": (False, True),
    "paging": ("cursor", "page"),
    "show_total": (False, True),
    "max_limit": (500, 3),
    "page_size_ignored": (False, True),
    "cursor_life_s": (3600, None, 5),
    "refuse_unknown_params": (False, True),
    "include_deleted": ("include_deleted", "includeDeleted", None),
    "only_deleted": (False, True),
    "wrapped_one": (False, True),
    "deleted_one": ("404", "200"),
    "reopening_clears": (False, True),
    "version_moves": (False, True),
    "quoted_json": (False, True),
    "audit_log": (False, True),
    "audit_log_order": ("oldest", "newest"),
}
"""Values of these switches among which no reader may notice a difference: whichever of them a tenant has, in the end
its deals are the same. What takes away a proof, or makes records that nobody can map, is not here."""
