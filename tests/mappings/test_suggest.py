"""Suggest: a tenant's own words in the shipped table, so that a first pull does not park everything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.language import Mapping, parse
from mappings.mapper import Mapped, Mapper
from mappings.observed import LONGEST_WORD
from mappings.suggest import Observed, suggest
from tests.mappings.tables import PLANHAT, USD


def deal(stage: Any, **fields: Any) -> dict[str, Any]:
    return {"_id": "1", "stage": stage, "total": 1, "currency": "USD", "ownerId": "u1", "custom": {}, **fields}


def suggested(*records: dict[str, Any], kind: str = "deals") -> tuple[str, Mapping]:
    observed = Observed()
    for record in records:
        observed.add(kind, record)
    text = suggest("planhat", observed, PLANHAT)
    return text, parse(text, name="suggested.toml")


def words(*stages: Any) -> dict[str, str]:
    return dict(suggested(*map(deal, stages))[1].kinds["deals"].stage.words)


def test_each_unknown_stage_gets_its_slug_and_its_count():
    text, mapping = suggested(deal("Legal review"), deal("Legal review"), deal("Closed Won"))
    assert mapping.kinds["deals"].stage.words["Legal review"] == "legal_review"
    assert '"Legal review" = "legal_review"   # seen 2x' in text
    assert '# "Closed Won", closed_won: seen 1x' in text


def test_a_stage_whose_slug_is_taken_is_neither_merged_nor_paid_as_won():
    found = words("Demo!", "Demo?", "closed won", "CLOSED WON")
    assert (found["Demo!"], found["Demo?"]) == ("demo", "demo_2")
    assert {found["closed won"], found["CLOSED WON"]} == {"closed_won_2", "closed_won_3"}
    assert "CHECK: another stage is 'closed_won' already" in suggested(deal("closed won"))[0]


def test_an_open_opportunity_is_not_won_because_its_sales_stage_says_so():
    record = {"_id": "1", "status": "active", "salesStage": "Closed Won", "arr": 1, "_currency": "USD"}
    mapping = suggested(record, kind="opportunities")[1]
    outcome = Mapper(mapping, USD).map("opportunities", record)
    assert isinstance(outcome, Mapped)
    assert outcome.state.stage == "closed_won_2"


def test_an_unknown_outcome_gets_a_word_of_its_own():
    record = {"_id": "1", "status": "archived", "salesStage": "Negotiation"}
    mapping = suggested(record, kind="opportunities")[1]
    outcome = Mapper(mapping, USD).map("opportunities", record)
    assert isinstance(outcome, Mapped)
    assert outcome.state.stage == "archived"


def test_owners_currencies_custom_fields_and_unclaimed_keys_are_listed_with_counts():
    text = suggested(deal("A", custom={"Lead Source": "x"}, surprise=[1]), deal("B", currency="eur"))[0]
    for line in ('#   "u1": 2', '#   "eur": 1', '# "Lead Source": 1 records, text, passes as lead_source',
                 '# "surprise" = "..."   # 1 records, list'):  # fmt: skip
        assert line in text.split("\n")


def test_labels_that_would_collide_get_keys_of_their_own():
    record = deal("A", custom={"Name": 1, "Currency": 2, "Seg": 3, "SEG!": 4, "Stage": 5, "Planhat Stage": 6})
    mapping = suggested(record)[1]
    outcome = Mapper(mapping, USD).map("deals", record)
    assert isinstance(outcome, Mapped)
    assert len(outcome.state.custom) == 7
    assert outcome.state.custom["planhat_name"] == 1


def test_nothing_observed_is_the_shipped_table():
    mapping = suggested()[1]
    assert mapping.version == parse(PLANHAT, name="p").version


def test_what_a_suggested_table_knows_is_not_suggested_again():
    records = [deal("Legal review", custom={"Name": 1}), deal("closed won")]
    text, mapping = suggested(*records)
    observed = Observed()
    for record in records:
        observed.add("deals", record)
    assert parse(suggest("planhat", observed, text), name="again").version == mapping.version


def test_a_table_without_the_headings_to_add_to_is_refused():
    observed = Observed()
    observed.add("deals", deal("A"))
    inline = PLANHAT.replace("[deals.owner]\nfrom", "[deals.owner.x]\nfrom").replace(
        "[deals.owner.x]", "[deals . owner]"
    )
    with pytest.raises(ValueError, match=r"no heading \[deals.owner\]"):
        suggest("planhat", observed, inline)


odd = st.sampled_from(["Closed Won", "closed won", " Negotiation ", "Ne\u0301go", "N\u00e9go"])
any_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=LONGEST_WORD)
stages = st.none() | odd | any_text


@settings(deadline=None, max_examples=60)
@given(
    st.lists(stages, max_size=20),
    st.lists(stages, max_size=6),
    st.dictionaries(st.text(), st.integers(0, 9), max_size=8),
)
def test_nothing_that_was_seen_parks_under_the_suggested_table(
    found: list[str | None], statuses: list[str | None], custom: dict[str, int]
):
    deals = [deal(stage, custom=custom) for stage in found]
    opportunities = [{"_id": "1", "salesStage": stage, "status": status} for stage in found for status in statuses]
    observed = Observed()
    for kind, records in (("deals", deals), ("opportunities", opportunities)):
        for record in records:
            observed.add(kind, record)
    mapper = Mapper(parse(suggest("planhat", observed, PLANHAT), name="suggested"), USD)
    for kind, records in (("deals", deals), ("opportunities", opportunities)):
        for record in records:
            assert isinstance(mapper.map(kind, record), Mapped)
