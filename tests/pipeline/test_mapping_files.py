"""The tables beside the mapping, of owners and of rates: what is wrong in them is said before anybody is paid by it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from mappings.rules import Rules
from pipeline.faults import SettingsError
from pipeline.mapping_files import rules_of
from pipeline.settings import load

CONFIG = """\
[connections.planhat-eu]
source = "planhat"
base_url = "https://api-eu.planhat.test"
token = { env = "PLANHAT_TOKEN" }
currency_policy = "convert"
owners = { file = "owners.csv" }
rates = { file = "rates.csv" }
"""
OWNERS = "source_id,owner_external_id\n"
RATES = "currency,from,rate\n"


def rules(folder: Path, *, owners: str = OWNERS, rates: str = RATES) -> Rules:
    """The rules of a connection with these tables."""
    (folder / "owners.csv").write_text(owners, encoding="utf-8")
    (folder / "rates.csv").write_text(rates, encoding="utf-8")
    (folder / "dealsync.toml").write_text(CONFIG)
    config = load(folder / "dealsync.toml", {"PLANHAT_TOKEN": "token-of-a-test"})
    return rules_of(config, config.connections["planhat-eu"])


def test_an_owner_table_may_have_a_byte_order_mark_blank_lines_and_columns_of_its_own(tmp_path: Path):
    told = '\ufeffname,source_id,owner_external_id\r\n\r\nAnn, u1 ,emp-1\r\n"Bo, Jr.",u2,"Doe, Bo"\r\n'
    assert rules(tmp_path, owners=told).owners == {"u1": "emp-1", "u2": "Doe, Bo"}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("u1,emp-1\nu1,emp-2\n", r"owners.csv:3: the owner 'u1' is listed twice"),
        ("u1,emp-1\nu2,\n", r"owners.csv:3: every column needs a value"),
        ("u1\n", r"owners.csv:2: every column needs a value"),
        ("u1,Doe, Ann\n", r"owners.csv:2: the row has more cells than the first line names"),
    ],
)
def test_an_owner_table_that_could_name_the_wrong_person_is_refused_with_its_line(tmp_path: Path, rows: str, why: str):
    with pytest.raises(SettingsError, match=why):
        rules(tmp_path, owners=OWNERS + rows)


def test_rates_hold_from_their_days_on(tmp_path: Path):
    found = rules(tmp_path, rates=f"{RATES}EUR,2026-01-01,1.08\nEUR,2026-02-01,1.10\n").rates
    assert found is not None
    assert found.on("EUR", date(2026, 1, 31)) == Decimal("1.08")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("EUR,2026-01-01,1,08\n", r"rates.csv:2: the row has more cells than the first line names"),
        ('EUR,2026-01-01,"1,08"\n', r"rates.csv:2: write a currency, a day like 2026-01-31 and a number"),
        ("EUR,2026-01-01,0\n", r"a number above zero"),
        ("EUR,2026-01-01,1.08\nEUR,2026-01-01,1.09\n", r"EUR has two rates on 2026-01-01"),
        ("ERU,2026-01-01,1.08\n", r"ERU"),
    ],
)
def test_a_rate_that_could_be_read_as_another_one_is_refused(tmp_path: Path, rows: str, why: str):
    with pytest.raises(SettingsError, match=why):
        rules(tmp_path, rates=RATES + rows)


@pytest.mark.parametrize("first", ["", "u1,emp-1\n", "source_id;owner_external_id\n"])
def test_a_table_whose_first_line_does_not_name_its_columns_is_refused(tmp_path: Path, first: str):
    with pytest.raises(SettingsError, match="the first line must name the columns source_id, owner_external_id"):
        rules(tmp_path, owners=first)
