"""Operator: who types the command, and why, as the audit keeps it."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from edge.exits import USAGE, Failed

if TYPE_CHECKING:
    from pipeline.audit import Operator


def operator(name: str | None, reason: str | None, *, must_say_why: bool = False) -> Operator:
    """The person at the terminal: `--as`, else `DEALSYNC_AS`, else the system's user. Raises `Failed` (usage) where
    the reason is missing and must be given."""
    from pipeline.audit import Operator

    why = (reason or "").strip() or None
    if must_say_why and why is None:
        raise Failed("--reason must say why", USAGE)
    return Operator((name or "").strip() or os.environ.get("DEALSYNC_AS", "").strip() or _user(), why)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
