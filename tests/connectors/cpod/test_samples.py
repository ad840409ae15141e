"""Every record of the simulator is read by the shipped table, however its tenant writes it."""

from __future__ import annotations

import pytest

from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules, Unmappable
from pipeline.mapping_files import shipped
from tests.connectors.cpod.reading import Tenant

TABLE = parse(shipped("cpod"), name="mappings/cpod.toml")


@pytest.mark.parametrize("quoted_json", [False, True])
@pytest.mark.parametrize("ids", ["deal_ulid", "deal-uuid", "uuid"])
def test_every_record_of_the_simulator_is_read_without_drift(ids: str, quoted_json: bool):
    made = Tenant(150, ids=ids, quoted_json=quoted_json, missing_currency=0.1)
    for deal in made.ids()[:20]:
        made.set_stage(deal, "closed_won")
    mapper = Mapper(TABLE, Rules(ledger_currency="USD", default_currency="USD"))
    results = [mapper.map("deals", record) for record in made.truth()]
    assert len(results) == 150
    assert all(isinstance(result, Mapped) and not result.drift for result in results)
    assert any("currency_defaulted" in result.flags for result in results)


def test_an_amount_as_text_parks_every_deal_of_such_a_tenant():
    mapper = Mapper(TABLE, Rules(ledger_currency="USD"))
    for record in Tenant(10, money_as_text=True).truth():
        result = mapper.map("deals", record)
        assert isinstance(result, Unmappable)
        assert [problem.reason for problem in result.problems] == ["BAD_AMOUNT"]
