"""Options of a Planhat connection: what the vendor does not document is a setting here, under the contract's words."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from connectors.source import Options


class PlanhatOptions(Options):
    """Settings of `[connections.<name>.options]` for the source `planhat` (contracts/planhat.md).

    `revenue_model` (section 1): which list holds the tenant's deals; `auto` finds out once and keeps to it.
    `auth` (section 3): `Bearer <token>`, or `Basic` with the token as user name.
    `page_size` (section 4): the vendor is assumed to clamp silently at 2000.
    `page_overlap` (section 4): rows that each page of a full read shares with the one before.
    `incremental` (section 4): `auto` walks `sort=-updatedAt` and verifies it; `scan` always reads everything.
    `select` (section 4): name the wanted fields in list requests.
    `get_one_fallback` (section 4): read rows one by one when the list shows them thinner than get-one does.
    `requests_per_minute` (section 13): the soft quota is 200; leave some to the tenant's other integrations.
    """

    amount_unit: Literal["major", "minor"] = "major"
    page_size: int = Field(default=1000, ge=2, le=10_000)
    page_overlap: int = Field(default=20, ge=1, le=1000)
    requests_per_minute: int | None = Field(default=200, ge=1, le=1_000_000)
    revenue_model: Literal["auto", "deals", "opportunities"] = "auto"
    auth: Literal["bearer", "basic"] = "bearer"
    incremental: Literal["auto", "scan"] = "auto"
    select: bool = True
    get_one_fallback: bool = True
