"""The simulated CRM: what every source's simulator lets a test, the demo and the sandbox do, whatever the vendor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

from connectors.simulated_sender import Post, Sender
from connectors.simulated_wire import Answer, Faults, Request
from connectors.simulation import Call, SimClock


class SimulatedCrm(Protocol):
    """A tenant of the vendor's, with people working in it.

    `credentials` are the ones it accepts, by their configuration keys; `options` the connection's options that fit it;
    `webhook_secret` signs what it sends: another one put in its place signs whatever is sent from then on. `stages` are
    the tenant's words for the stages, the last two being won and lost. `before_list` is called before each page of
    deals is answered: a test moves rows there.
    """

    clock: SimClock
    faults: Faults
    log: list[Call]
    credentials: Mapping[str, str]
    options: Mapping[str, Any]
    webhook_secret: str
    stages: tuple[str, ...]
    before_list: Callable[[Request], None] | None

    def answer(self, request: Request) -> Answer:
        """The answer to a request, after any mishap that the script has for it."""
        ...

    def ids(self) -> list[str]:
        """The ids of all deals that exist."""
        ...

    def truth(self) -> Iterator[dict[str, Any]]:
        """Every deal that the connection may see, as a get-one answers it now; amounts as int or Decimal."""
        ...

    def new_deal(self, *, amount: Decimal | None, stage: str) -> str:
        """Somebody types in a deal; gives its id. `amount` is in the source's own unit."""
        ...

    def set_amount(self, deal_id: str, amount: Decimal | None) -> None:
        """Somebody changes the amount of a deal."""
        ...

    def set_stage(self, deal_id: str, stage: str) -> None:
        """Somebody moves a deal to another stage, with whatever the vendor changes along with it."""
        ...

    def touch(self, deal_id: str) -> None:
        """A write that changes nothing but the record's own clock or version."""
        ...

    def delete(self, deal_id: str) -> None:
        """Somebody deletes a deal."""
        ...

    def restore(self, deal_id: str) -> None:
        """A deleted deal comes back; raises `NotImplementedError` where the vendor has no such thing."""
        ...

    def spoil(self, deal_id: str) -> None:
        """From now on the deal cannot be mapped: its stage is a word that no table knows."""
        ...

    def notify(self, post: Post, **settings: Any) -> Sender:
        """Somebody registers a webhook; `settings` are those of `Sender`. What is written from now on is sent there."""
        ...
