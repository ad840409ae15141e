"""The deals that every contender reads: drawn from a seed, about 900 bytes, 25 fields, five custom values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, get_args

Edition: TypeAlias = Literal["initial", "one_percent", "two_percent"]
EDITIONS: tuple[Edition, ...] = get_args(Edition)

KEPT_READY = 200_000
"""Up to so many deals are held as bytes; beyond, each page is drawn when it is asked for."""

_CREATED = datetime(2024, 1, 1, 8, 0, 0, 123000, tzinfo=UTC)
_EDITED = datetime(2025, 9, 1, 8, 0, 0, 123000, tzinfo=UTC)
_STAGES = ("Negotiation", "Closed Won", "Negotiation", "Closed Lost")
_SEGMENTS = ("Enterprise", "Mid-Market", "SMB", "Public Sector")
_CENTS = (25, 49, 75, 99)
_COMMENT = (
    "Renewal talks with procurement go well; legal asked for the amended order form, "
    "a data processing addendum and a named contact."
)


class Tenant:
    """A tenant's deals in one of three editions.

    `initial`; `one_percent`: one deal in a hundred has another total, every second of these another stage, all of
    them a newer `updatedAt` than any deal before; `two_percent`: the same once more for other deals, on top.
    """

    def __init__(self, deals: int, seed: int = 20, *, kept_ready: int = KEPT_READY) -> None:
        self.deals = deals
        self._seed = seed
        self._ready = [self._draw(number) for number in range(deals)] if deals <= kept_ready else None
        self.switch("initial")

    def switch(self, edition: Edition) -> None:
        """Show another edition from now on. Edits are drawn here, so that a page costs the same in every edition."""
        edited = [number for left_over in (37, 73)[: EDITIONS.index(edition)] for number in self._share(left_over)]
        self._edits = {number: self._draw(number, edit=place) for place, number in enumerate(edited, 1)}
        rest = [number for number in range(self.deals - 1, -1, -1) if number not in self._edits]
        self._newest_first = [*reversed(edited), *rest]

    def page(self, offset: int, limit: int, *, newest_first: bool) -> bytes:
        """A bare JSON array, sorted by `_id` or by descending `updatedAt`; empty after the end."""
        order: Sequence[int] = self._newest_first if newest_first else range(self.deals)
        return b"[" + b",".join([self._row(number) for number in order[offset : offset + limit]]) + b"]"

    def one(self, deal_id: str) -> bytes | None:
        """One deal by its `_id`, or None."""
        try:
            number = int(deal_id[-8:], 16)
        except ValueError:
            return None
        return self._row(number) if number < self.deals and _deal_id(number) == deal_id else None

    def total_cents(self) -> int:
        """The sum of all totals: what must have arrived, wherever the deals were loaded."""
        return sum(self._total(number, number in self._edits) for number in range(self.deals))

    def _share(self, left_over: int) -> range:
        return range(left_over, self.deals, 100)

    def _row(self, number: int) -> bytes:
        edit = self._edits.get(number)
        if edit is not None:
            return edit
        return self._ready[number] if self._ready is not None else self._draw(number)

    def _total(self, number: int, edited: bool) -> int:
        dice = self._dice(number)
        return (dice % 180_000 + 1_000 + 500 * edited) * 100 + _CENTS[dice % 4]

    def _dice(self, number: int) -> int:
        return ((number + self._seed) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 21

    def _draw(self, number: int, edit: int = 0) -> bytes:
        """One deal as bytes. `edit` is the place of its edit among all, 0 for none."""
        dice = self._dice(number)
        cents = self._total(number, edit > 0)
        stage = _STAGES[(dice + (edit > 0 and edit % 2)) % 4]
        created = _CREATED + timedelta(seconds=300 * number % 31_536_000)
        updated = _EDITED + timedelta(seconds=edit) if edit else _changed(number, self.deals)
        company, owner, mrr = dice % 5_000, dice % 40, dice % 9_000 + 100
        followers = f'"65a0b1c2d3e4f5a6{(dice >> 3) % 40:08x}"' if dice % 4 == 0 else ""
        return (
            f'{{"_id":"{_deal_id(number)}","name":"Company {company} renewal {number}",'
            f'"companyId":"65c0b1c2d3e4f5a6{company:08x}","companyName":"Company {company} Holdings",'
            f'"externalId":"crm-{number}","sourceId":"0068d00000{number:08d}AAE","stage":"{stage}",'
            f'"ownerId":"65a0b1c2d3e4f5a6{owner:08x}","followers":[{followers}],"mrr":{mrr},"arr":{12 * mrr},'
            f'"total":{cents // 100}.{cents % 100:02d},"fees":{dice % 700},"currency":"USD",'
            f'"closeDate":"{_day(dice % 700)}","renewalDate":"{_day(dice % 700 + 365)}",'
            f'"startDate":"{_day(dice % 700)}","endDate":"{_day(dice % 700 + 364)}",'
            f'"subscriptionsCount":{dice % 5},"feesCount":{dice % 3},"activeSubscriptionsCount":{dice % 4},'
            f'"comment":"{_COMMENT}","custom":{{"Segment":"{_SEGMENTS[dice % 4]}","Forecast Weight":{dice % 100},'
            f'"Multi Year":{"true" if dice % 2 else "false"},"Legal Entity":"Entity {dice % 30}",'
            f'"Partner Code":"P-{dice % 10_000:05d}"}},'
            f'"createdAt":"{_moment(created)}","updatedAt":"{_moment(updated)}"}}'
        ).encode()


def _deal_id(number: int) -> str:
    return f"65f0c0ffee00dea1{number:08x}"


def _changed(number: int, deals: int) -> datetime:
    """Before the first edit, over a year, growing with the deal's number."""
    return _EDITED - timedelta(days=1, seconds=31_536_000 * (deals - number) // deals)


def _moment(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_DAYS = [f"{(datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day)).date()}T00:00:00.000Z" for day in range(1_100)]


def _day(day: int) -> str:
    return _DAYS[day]
