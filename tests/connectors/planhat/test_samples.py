"""Each sample of Planhat's records becomes, through the shipped table, the state that was written down beside it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.planhat.simulated_switches import MODELS
from deals.identity import canonical
from deals.state import STANDARD, json_value, wire
from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules, Unmappable

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "connectors/planhat/samples").glob("*.json"))
TABLE = parse((ROOT / "mappings/planhat.toml").read_text(), name="mappings/planhat.toml")


def load(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(), parse_float=Decimal)


each_sample = pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)


@each_sample
def test_a_sample_becomes_what_is_written_beside_it(file: Path):
    sample = load(file)
    result = Mapper(TABLE, Rules(**sample["settings"])).map(sample["kind"], sample["given"])
    if sample["becomes"] is None:
        assert isinstance(result, Unmappable), result
        assert [problem.reason for problem in result.problems] == sample["parks"]
        return
    assert isinstance(result, Mapped), result
    assert canonical(wire(result.state)) == canonical(json_value(sample["becomes"]))
    assert sorted(result.flags) == sample.get("flags", [])
    assert sorted(result.drift) == sample["unclaimed"]


@each_sample
def test_a_sample_says_what_it_shows_in_whole_states(file: Path):
    sample = load(file)
    assert sample["about"].endswith(".")
    assert (sample["becomes"] is None) == bool(sample.get("parks"))
    assert sample["becomes"] is None or set(STANDARD) <= sample["becomes"].keys()


@pytest.mark.parametrize("model", MODELS)
def test_every_record_of_the_simulator_is_read_without_drift(tenant, model):
    made = tenant(deals=150, model=model, undefined_custom=0.1, missing_currency=0.1)
    mapper = Mapper(TABLE, Rules(ledger_currency="USD", default_currency="USD"))
    results = [mapper.map(model, record) for record in made.truth()]
    assert len(results) == 150
    assert all(isinstance(result, Mapped) and not result.drift for result in results)
    assert any("currency_defaulted" in result.flags for result in results)
