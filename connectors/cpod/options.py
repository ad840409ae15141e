"""Options of a cPod connection: what the vendor does not document is a setting here, under the contract's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from connectors.source import Options


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name[:60]!r} is no time zone; write one like UTC or Europe/Berlin") from None
    return name


class CpodOptions(Options):
    """Settings of `[connections.<name>.options]` for the source `cpod` (contracts/cpod.md).

    `auth_mode` (section 2): unset, a token is sent as it is and a client's id and secret are swapped for tokens.
    `token_path`, `crm_path` and `user_path` (sections 1, 2, 8): where the vendor serves them.
    `page_size` (section 3): at most 500, which is also what costs the fewest requests.
    `envelope` (section 3): `auto` finds out what pages look like, and keeps to it; another word settles it.
    `pagination_style` (section 3): `auto` follows a cursor where there is one.
    `page_size_param` (section 3): its name where pages are numbered; empty follows the casing of the envelope.
    `include_deleted_param` (section 3): `auto` tries the names it may have, a name is sent alone, empty sends none.
    `changed_since_param` (section 3): empty or `off` reads everything each time; a name is tried and verified.
    `own_records_ok` (section 2): the number of deals was compared with the app, so the list may be trusted.
    `audit_log_hops` (section 6): stage moves between two reads become events of their own.
    `close_date_zone` (section 10): the zone in which the moment of closing becomes a day.
    `requests_per_minute` (section 11): 60 are assumed.
    """

    amount_unit: Literal["major", "minor"] = "major"
    page_size: int = Field(default=500, ge=2, le=500)
    requests_per_minute: int | None = Field(default=60, ge=1, le=1_000_000)
    auth_mode: Literal["client_credentials", "api_key_bearer", "user_token"] | None = None
    token_path: str = Field(default="/api/v1/auth/token", pattern=r"^/[!-~]*$")
    crm_path: str = Field(default="/api/v1/crm", pattern=r"^/[!-~]*[^/]$")
    user_path: str = Field(default="/api/v1/users/{id}", pattern=r"^/[!-~]+/\{id\}$")
    envelope: Literal["auto", "data/snake", "data/camel", "items/snake", "items/camel"] = "auto"
    pagination_style: Literal["auto", "cursor", "page"] = "auto"
    page_size_param: str = Field(default="", pattern=r"^\w*$")
    include_deleted_param: str = Field(default="auto", pattern=r"^\w*$")
    changed_since_param: str = Field(default="", pattern=r"^[\w.]*(\[\w+\])?$")
    own_records_ok: bool = False
    audit_log_hops: bool = True
    close_date_zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def readings(self) -> Mapping[str, Any]:
        """How stage histories and moments of closing are read."""
        return {"zone": self.close_date_zone, "stage_history": self.audit_log_hops}

    @property
    def since(self) -> str | None:
        """The changed-since parameter to be tried, if any."""
        return None if self.changed_since_param in ("", "off") else self.changed_since_param
