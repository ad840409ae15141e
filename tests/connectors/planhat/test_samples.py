"""Every record of the simulator is read by the shipped table; so is every field of the older model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectors.planhat.simulated_switches import MODELS
from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules
from pipeline.mapping_files import shipped

TABLE = parse(shipped("planhat"), name="mappings/planhat.toml")
CONTRACT = Path(__file__).parents[3] / "docs/contracts/planhat.md"


@pytest.mark.parametrize("model", MODELS)
def test_every_record_of_the_simulator_is_read_without_drift(tenant, model):
    made = tenant(deals=150, model=model, undefined_custom=0.1, missing_currency=0.1)
    mapper = Mapper(TABLE, Rules(ledger_currency="USD", default_currency="USD"))
    results = [mapper.map(model, record) for record in made.truth()]
    assert len(results) == 150
    assert all(isinstance(result, Mapped) and not result.drift for result in results)
    assert any("currency_defaulted" in result.flags for result in results)


def test_every_documented_field_of_an_opportunity_is_mapped_or_ignored():
    """The contract names them in one paragraph, up to the first source it cites."""
    paragraph = CONTRACT.read_text().split("### Legacy Opportunity")[1].split("\n", 1)[1].split("[docs", 1)[0]
    fields = [name for name in re.findall(r"`([^`]+)`", paragraph) if name not in ("active", "won", "lost")]
    assert len(fields) >= 18
    rule = TABLE.kinds["opportunities"]
    assert set(fields) - {*rule.fields(), *rule.ignored} == set()
