"""Faults of a source, by who must act on them.

    Fault
    ├── Unavailable      the clock: the same request may work later
    │   └── RateLimited  the clock: not before a stated time; costs no attempt
    ├── Unintelligible   a developer: the source answered, but not as its contract says
    ├── Refused          the operator: credentials or rights
    │   └── Denied       the operator: this one right is missing, whatever else we may do
    └── Misconfigured    the operator: a setting

Each class's docstring is its message when none is given. Messages never carry a secret or a body.
"""

from __future__ import annotations


class Fault(Exception):
    """The source could not be read."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__class__.__doc__)


class Unavailable(Fault):
    """The source does not answer; the same request may work later."""


class RateLimited(Unavailable):
    """The source asks us to wait before the next request."""

    def __init__(self, message: str | None = None, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unintelligible(Fault):
    """The source answered something its contract does not allow."""


class Refused(Fault):
    """The source refuses our credentials or our rights."""


class Denied(Refused):
    """The source knows us, and does not let us have this."""


class Misconfigured(Fault):
    """A setting of the connection cannot work."""
