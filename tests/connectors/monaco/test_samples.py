"""What the simulated organization shows is what the shipped table reads, whatever it counts in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules
from tests.connectors.monaco.reading import Organization

TABLE = parse((Path(__file__).parents[3] / "mappings/monaco.toml").read_text(), name="mappings/monaco.toml")


@pytest.mark.parametrize("unit", ["minor", "major"])
def test_every_record_of_the_simulator_is_read_without_drift(unit: Any):
    organization = Organization(150, missing_currency=0.1, amount_unit=unit)
    mapper = Mapper(TABLE, Rules(ledger_currency="USD", default_currency="USD", amount_unit=unit))
    results = [mapper.map("opportunities", record) for record in organization.truth()]
    assert len(results) == 150
    assert all(isinstance(result, Mapped) and not result.drift for result in results)
    assert any(isinstance(result, Mapped) and "currency_defaulted" in result.flags for result in results)
