"""Flags: what a person may like to know of how records were read, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deals.state import DealState

BECAME_DERIVED = "amount_became_derived"

WORDS = {
    "amount_rounded": "had a fraction of a minor unit and were rounded, half to even",
    "amount_converted": "were converted into the ledger's currency",
    "foreign_currency_passed": "name another currency than the ledger's, and were taken as they stand",
    "currency_defaulted": "name no currency and took the connection's default_currency",
    "custom_key_prefixed": "have a custom field whose key the ledger keeps for itself; it passes with a prefix",
    "owner_unresolved": "have an owner that nobody could be found for, and go without",
    "outcome_ahead_of_stage": "are won or lost while their stage is still an open one",
    "reference_missing": "refer to something that the source has not shown yet",
    "stage_hop_unread": "have moves in their history that cannot be read",
    "stage_hop_unordered": "have moves in their history that may have been made in either order; none was told of",
    "stage_passed": "are in a stage that the mapping does not list; its own word was passed on",
    BECAME_DERIVED: "changed their amount with their first line item; the source works it out from now on",
}


def told(flags: Mapping[str, int]) -> Iterator[str]:
    """A line for each flag, for the notes of a run."""
    for flag, count in sorted(flags.items()):
        yield f"{count:,} {'record' if count == 1 else 'records'}: {WORDS.get(flag, 'flagged')} ({flag})"


def became_derived(keys: tuple[str, ...], before: DealState, after: DealState) -> bool:
    """Whether the first of what the source works the amount out from has appeared, and changed it."""
    if not keys or before.amount_cents == after.amount_cents:
        return False
    return not any(before.custom.get(key) for key in keys) and any(after.custom.get(key) for key in keys)
