"""Options of a Monaco connection: what the vendor does not document is a setting here, under the contract's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from connectors.pacing import HOUR, Limit
from connectors.source import Options
from connectors.times import Duration


class MonacoOptions(Options):
    """Settings of `[connections.<name>.options]` for the source `monaco` (contracts/monaco.md).

    `amount_unit` (section 9): stated nowhere, so it has no default; `dealsync check` shows an amount to judge by.
    `auth_header_style` (section 2): the documentation shows both.
    `path_prefix` (header of the contract): which generation of the endpoints is asked; redirects between them are
    followed. `page_size` (section 3): the vendor allows 500.
    `incremental` (section 3.3): `auto` filters on `updated_at` where the schema allows it, else walks `-updated_at`,
    else reads everything each time; the other words name one of these ways.
    `schema_refresh` (section 7): how long what the schema said is believed.
    `enum_values` (section 7): custom fields that are chosen from a list pass by the choice's key, which stays, or by
    the `display_value` that people are shown; then whoever renames a choice changes every deal that bears it.
    `won_stages`, `lost_stages` (section 8): stage keys that close an opportunity; Monaco does not tell.
    `requests_per_hour` (section 11): the organization's limit, all keys and integrations together. `reserve` is the
    share of it that is left to the others.
    """

    page_size: int = Field(default=500, ge=2, le=500)
    requests_per_hour: int | None = Field(default=1000, ge=2, le=1_000_000)
    reserve: float = Field(default=0.1, ge=0, le=0.9)
    auth_header_style: Literal["bearer", "x-monaco-api-key"] = "bearer"
    path_prefix: Literal["/v1", "/v1/preview"] = "/v1"
    incremental: Literal["auto", "filter", "sort", "scan"] = "auto"
    schema_refresh: Duration = Field(default=timedelta(hours=24), gt=timedelta(0))
    enum_values: Literal["key", "display_value"] = "key"
    won_stages: tuple[str, ...] = ("closed_won",)
    lost_stages: tuple[str, ...] = ("closed_lost",)

    @model_validator(mode="after")
    def _won_or_lost(self) -> MonacoOptions:
        if both := set(self.won_stages) & set(self.lost_stages):
            raise ValueError(f"{min(both)!r} stands in won_stages and in lost_stages; keep it in one")
        return self

    def readings(self) -> Mapping[str, Any]:
        """The stage keys that mean won and lost, and how choices are told."""
        words = dict.fromkeys(self.won_stages, "closed_won") | dict.fromkeys(self.lost_stages, "closed_lost")
        return {"stage_words": words, "choices": self.enum_values == "display_value"}

    def least_interval(self) -> timedelta:
        """A pull that reads everything costs a request for each 500 opportunities, of 1000 an hour for all."""
        return timedelta(minutes=15 if self.incremental == "scan" else 1)

    def limits(self) -> Sequence[Limit]:
        """The organization's hour less the reserve, and what else is set."""
        return [
            limit._replace(requests=max(1, int(limit.requests * (1 - self.reserve))))
            if limit.seconds == HOUR
            else limit
            for limit in super().limits()
        ]
