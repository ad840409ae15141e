"""The people of a simulated Planhat tenant: what may be done to any simulated CRM, done in Planhat's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from connectors.planhat.simulated_data import LOST, WON
from connectors.planhat.simulated_switches import Model
from connectors.planhat.simulated_tenant import Tenant
from connectors.simulated_records import Fields
from connectors.simulated_sender import Post, Sender
from connectors.simulated_wire import Request

SECRET_HEADER: Final = "X-Planhat-Secret"  # noqa: S105 - a header's name
"""The header that the admin types into the automation (section 14)."""

UNKNOWN_STAGE: Final = "Somewhere Else Entirely"
"""A stage word that no table knows."""

_OUTCOMES: Final = {WON: "won", LOST: "lost"}


class People(Tenant):
    """A tenant as `connectors.simulated_crm.SimulatedCrm` has it. Amounts are `total`, of opportunities `arr`."""

    credentials: Mapping[str, str]
    options: Mapping[str, Any] = {}
    webhook_secret: str = "whsec-of-the-sandbox"  # noqa: S105 - opens simulated doors only
    before_list: Callable[[Request], None] | None = None

    def new_deal(self, *, amount: Decimal | None, stage: str) -> str:
        """Somebody types in a deal in US dollars, in major units."""
        return self.create(
            **{self._amount: amount, self.model.currency: "USD", "closeDate": "2026-06-30T00:00:00.000Z"},
            **staged(self.model, stage),
        )

    def set_amount(self, deal_id: str, amount: Decimal | None) -> None:
        """Somebody changes the contract value."""
        self.edit(deal_id, **{self._amount: amount})

    def set_stage(self, deal_id: str, stage: str) -> None:
        """Somebody moves the deal; an opportunity is won or lost by its status."""
        self.edit(deal_id, **staged(self.model, stage))

    def spoil(self, deal_id: str) -> None:
        """Somebody gives the deal a stage that no table knows."""
        self.set_stage(deal_id, UNKNOWN_STAGE)

    def notify(self, post: Post, **settings: Any) -> Sender:
        """An admin builds an automation from our template, with the secret in its header."""
        return self.automate(post, headers=lambda: {SECRET_HEADER: self.webhook_secret}, **settings)

    @property
    def _amount(self) -> str:
        return "total" if self.model.path == "deals" else "arr"


def staged(model: Model, stage: str) -> Fields:
    """The fields that put a record of this model into a stage."""
    if model.path == "deals":
        return {model.stage: stage}
    if stage in _OUTCOMES:
        return {"status": _OUTCOMES[stage]}
    return {"status": "active", model.stage: stage}
