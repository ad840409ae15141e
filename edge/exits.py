"""Exits: which fault ends a command with which code, and how a fault is told, there and over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

DONE, BUG, USAGE, CONFIGURATION, REFUSED, PARKED, UNAVAILABLE, BUSY, INTEGRITY = range(9)
INTERRUPTED = 130
UNREAD = 141
"""Whoever read our output closed it: 128 and the number of SIGPIPE, as a shell reports it."""

FINDINGS = {
    "refused": REFUSED,
    "unavailable": UNAVAILABLE,
    "unintelligible": UNAVAILABLE,
    "misconfigured": CONFIGURATION,
}
"""What a finding of `dealsync check` ends the command with."""


class Failed(Exception):
    """A command of ours cannot do what it was asked; `code` is what it ends with."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: BaseException) -> int | None:
    """The exit code of a fault; None for what is no fault but a bug."""
    if isinstance(error, Failed):
        return error.code
    return next((code for kinds, code in _table() if isinstance(error, kinds)), None)


def told(error: BaseException) -> list[str]:
    """A fault in lines for a person, one for each problem."""
    problems = getattr(error, "problems", None)
    lines = list(problems) if problems else str(error).splitlines()
    return [line for line in lines if line.strip()] or [type(error).__name__]


def _table() -> Sequence[tuple[tuple[type[BaseException], ...], int]]:
    """Imported only when something went wrong, so that a command begins fast."""
    from connectors import faults as source
    from ledger import port as ledger
    from mappings.language import MappingError
    from pipeline import faults as pipeline

    return (
        ((pipeline.Unknown,), USAGE),
        ((pipeline.SettingsError, pipeline.StoreUnready, source.Misconfigured, MappingError), CONFIGURATION),
        ((source.Refused, ledger.LedgerRefused), REFUSED),
        ((pipeline.Stopped,), PARKED),
        ((source.Unavailable, source.Unintelligible, ledger.LedgerFault, pipeline.StoreUnavailable), UNAVAILABLE),
        ((pipeline.Busy, pipeline.StaleLease), BUSY),
        ((pipeline.Interrupted,), INTERRUPTED),
    )
