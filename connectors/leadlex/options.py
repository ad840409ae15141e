"""Options of a LeadLex connection: what the vendor does not document is a setting here, under the contract's words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from connectors.pacing import DAY, Limit
from connectors.source import Options

Plan = Literal["starter", "pro", "org"]

LIMITS: dict[Plan, tuple[int, int]] = {"starter": (100, 10), "pro": (1_000, 50), "org": (10_000, 200)}
"""Requests a day and requests a minute of each plan (section 11)."""

_A_DAY_OF_POLLS = 0.3
"""Pulls by schedule take this share of a day's requests at most; sweeps and fetches live on the rest."""

_REQUESTS_OF_A_POLL = 2
_NEVER_FASTER = timedelta(minutes=1)


class LeadlexOptions(Options):
    """Settings of `[connections.<name>.options]` for the source `leadlex` (contracts/leadlex.md).

    `plan` (section 11): what the workspace has booked; it decides `requests_per_minute`, unless that is set, and how
    far pulls lie apart. `requests_per_day` is a limit of your own in place of the plan's; what the vendor's headers say
    is left counts beside it. `reserve` (section 11): the share of the vendor's day left to other integrations.
    `page_size` (section 3): at most 100.
    `use_csv_export` (section 15): sweeps hold the ids of a CSV export against the list. `export_limit`: rows asked for
    in one export; exactly so many count as cut off. `exports_per_hour`: what the vendor allows a workspace.
    `use_audit_log` (section 14): pulls read deletions from the audit log, which takes an admin key.
    `get_one_fallback` (section 3): read a row by itself when it is new or changed and the list leaves out a key that a
    single read shows; otherwise such keys are gone without, in single reads as well.
    """

    amount_unit: Literal["major", "minor"] = "major"
    page_size: int = Field(default=100, ge=2, le=100)
    plan: Plan = "starter"
    reserve: float = Field(default=0.2, ge=0.0, le=0.9)
    use_csv_export: bool = False
    export_limit: int = Field(default=50_000, ge=2, le=50_000)
    exports_per_hour: int = Field(default=10, ge=1, le=10)
    use_audit_log: bool = False
    get_one_fallback: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_the_plan(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("plan", "starter") in LIMITS:
            return {"requests_per_minute": LIMITS[given.get("plan", "starter")][1], **given}
        return given

    @property
    def booked(self) -> int:
        """The plan's requests a day."""
        return LIMITS[self.plan][0]

    @property
    def day(self) -> int:
        """The requests of a day that we may send, however many the vendor's headers say are left."""
        own = self.requests_per_day
        return own if own is not None else int(self.booked * (1 - self.reserve))

    def limits(self) -> Sequence[Limit]:
        """The minute slides; the day is the calendar's, in UTC."""
        slides = [limit for limit in super().limits() if limit.seconds != DAY]
        return [*slides, Limit(max(1, self.day), DAY, aligned=True)]

    def least_interval(self) -> timedelta:
        """A poll takes two requests when nothing changed; so many of them fit into their share of a day."""
        polls = max(1.0, self.day * _A_DAY_OF_POLLS / _REQUESTS_OF_A_POLL)
        return max(_NEVER_FASTER, timedelta(seconds=round(86_400 / polls)))
