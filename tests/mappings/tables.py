"""Tables and records that several tests of the mapping language share."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib.resources import files
from typing import Any

import msgspec
from hypothesis import strategies as st

from mappings.language import Mapping, parse
from mappings.mapper import Mapped, Mapper, Problem, Rules, Unmappable

PLANHAT = files("mappings").joinpath("planhat.toml").read_text(encoding="utf-8")

SMALL = """\
source = "acme"

[deals]
required = ["id"]

[deals.amount]
from = "value.amount"
currency = "value.code"

[deals.stage]
from = "stage"

[deals.stage.words]
"Won" = "closed_won"
"Open" = "open"

[deals.close_date]
from = ["closed", "expected"]

[deals.owner]
from = "owner.id"

[deals.custom]
title = { from = "title", as = "text" }
seats = { from = "seats", as = "number" }

[deals.custom_fields]
from = "extra"
nothing = ["undefined"]

[deals.custom_fields.declared]
"Kick-off Day" = { as = "day" }

[deals.custom_fields.ignored]
"Secret Note" = "not for the ledger"

[deals.ignored]
updated = "moves without a change"
"""

USD = Rules(ledger_currency="USD")

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def small(*changes: tuple[str, str]) -> Mapping:
    """The small table with some of its text replaced; each text must be there."""
    return parse(edited(*changes), name="small.toml")


def edited(*changes: tuple[str, str], table: str = SMALL) -> str:
    for old, new in changes:
        assert old in table, old
        table = table.replace(old, new)
    return table


def record(**fields: Any) -> dict[str, Any]:
    """A record of the small table as the pipeline would decode it: every number an int or a Decimal."""
    whole = {"id": "1", "stage": "Open", "value": {"amount": 10, "code": "USD"}, **fields}
    return _decoder.decode(json.dumps(whole))


def mapped(mapper: Mapper, what: dict[str, Any], kind: str = "deals") -> Mapped:
    outcome = mapper.map(kind, what)
    assert isinstance(outcome, Mapped), outcome
    return outcome


def problems(mapper: Mapper, what: dict[str, Any], kind: str = "deals") -> list[Problem]:
    outcome = mapper.map(kind, what)
    assert isinstance(outcome, Unmappable), outcome
    return list(outcome.problems)


def problem(mapper: Mapper, what: dict[str, Any], kind: str = "deals") -> Problem:
    (only,) = problems(mapper, what, kind)
    return only


numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("1e999"))
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
