"""Faults of the pipeline itself; those of a source are in connectors/faults.py, those of a ledger in ledger/port.py.

Each class's docstring is its message when none is given. The command line turns each into one line and an exit code.
"""

from __future__ import annotations

from pipeline.summary import Summary


class PipelineFault(Exception):
    """The pipeline could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__class__.__doc__)


class SettingsError(PipelineFault):
    """The configuration cannot work. `problems` lists every one of them, not the first only."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unknown(PipelineFault):
    """There is no connection, deal or parked entry of that name."""


class StoreUnready(PipelineFault):
    """The store is missing or older than the code: run `dealsync migrate`."""


class StoreUnavailable(PipelineFault):
    """The store does not answer, is full or cannot be written."""


class Busy(PipelineFault):
    """Somebody else is doing this right now."""


class StaleLease(PipelineFault):
    """Our lease was taken over while we were away; nothing was written under it."""


class Interrupted(PipelineFault):
    """The process was told to stop; what was committed stays, and the next one goes on from there."""


class Stopped(PipelineFault):
    """The run was stopped because too many of its records had to be parked. `summary` counts what it did."""

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


def reason_of(error: BaseException) -> str:
    """Why work ended, in words for people: a process that is told to end raises what says nothing of it."""
    if not isinstance(error, Exception):
        error = Interrupted()
    return str(error) or type(error).__name__
