"""Suggest: a tenant's own words in the shipped table, so that a first pull does not park everything."""

from __future__ import annotations

from importlib.resources import files
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


BY_SLUG = PLANHAT.replace('from = "stage"\n', 'from = "stage"\ncompare = "slug"\n', 1)


def test_a_table_that_compares_by_slug_gets_one_line_for_all_spellings_of_a_word():
    observed = Observed()
    for stage in ("Demo!", "demo", "DEMO", "closed won"):
        observed.add("deals", deal(stage))
    text = suggest("planhat", observed, BY_SLUG)
    mapping = parse(text, name="suggested.toml")
    assert list(mapping.kinds["deals"].stage.words.values()).count("demo") == 1
    assert '# "closed won", closed_won: seen 1x' in text
    for stage in ("Demo!", "demo", "DEMO", "closed won"):
        assert isinstance(Mapper(mapping, USD).map("deals", deal(stage)), Mapped)


def test_the_values_that_may_have_words_of_their_own_are_listed():
    within = (
        '[deals.stage.within]\nfrom = "pipeline"\n\n[deals.stage.within.words."p1"]\n"A" = "a"\n\n[deals.close_date]'
    )
    observed = Observed()
    observed.add("deals", deal("A", pipeline="p2"))
    text = suggest("planhat", observed, PLANHAT.replace("[deals.close_date]", within))
    assert '# values of pipeline seen:\n#   "p2": 1' in text
    parse(text, name="suggested.toml")


def test_fields_with_a_prefix_are_told_by_the_key_they_are_bound_to_and_not_as_unclaimed():
    prefixed = PLANHAT.replace('from = "custom" ', 'prefix = "cf_" ', 1)
    observed = Observed()
    observed.add("deals", deal("A", cf_1="x", cf_2="y", odd=1))
    text = suggest("planhat", observed, prefixed, {"cf_1": "risk", "cf_2": "name"})
    assert '# "cf_1": 1 records, text, passes as risk' in text
    assert '"cf_2" = { key = "planhat_cf_2" }   # 1 records, text; CHECK: its key is taken by' in text
    assert '# "cf_1" = "..."' not in text
    assert '# "odd" = "..."' in text
    mapper = Mapper(parse(text, name="suggested.toml"), USD).with_labels({"cf_1": "risk", "cf_2": "name"})
    outcome = mapper.map("deals", deal("A", cf_1="x", cf_2="y"))
    assert isinstance(outcome, Mapped)
    assert {"risk", "planhat_cf_2"} <= outcome.state.custom.keys()


@pytest.mark.parametrize(
    "name", sorted(file.name for file in files("mappings").iterdir() if file.name.endswith(".toml"))
)
def test_every_shipped_table_can_be_completed(name: str):
    shipped = files("mappings").joinpath(name).read_text(encoding="utf-8")
    mapping = parse(shipped, name=name)
    observed = Observed()
    for kind, rule in mapping.kinds.items():
        paths = [path for path, _ in rule.claims()]
        record: dict[str, Any] = {path: "A Word" for path in paths if "." not in path} | {"unclaimed": 1}
        fields = rule.custom_fields
        if fields is not None:
            record |= {fields.source: {"A": 1}} if fields.source else {f"{fields.prefix}1": 1}
        observed.add(kind, record)
    assert parse(suggest(mapping.source, observed, shipped), name="suggested").kinds.keys() == mapping.kinds.keys()
