"""Options of an Acme connection."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from connectors.source import Options


class AcmeOptions(Options):
    """Settings of `[connections.<name>.options]` for the source `acme` (contracts/acme.md sections 1 and 3)."""

    amount_unit: Literal["major", "minor"] = "major"
    page_size: int = Field(default=200, ge=2, le=200)
    requests_per_minute: int | None = Field(default=60, ge=1, le=1_000_000)
