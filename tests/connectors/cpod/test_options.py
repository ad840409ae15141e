"""The settings of a cPod connection, and what they decide about reading a deal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.cpod.options import CpodOptions
from mappings.rules import Rules


def test_the_defaults_are_the_contracts_assumptions():
    options = CpodOptions()
    assert (options.amount_unit, options.page_size, options.requests_per_minute) == ("major", 500, 60)
    assert (options.overlap, options.since, options.own_records_ok) == (timedelta(minutes=10), None, False)


def test_the_zone_and_the_stage_history_are_handed_to_the_rules():
    options = CpodOptions(close_date_zone="Europe/Berlin", audit_log_hops=False)
    rules = Rules(ledger_currency="USD", **options.readings())
    assert (rules.zone, rules.stage_history) == ("Europe/Berlin", False)


@pytest.mark.parametrize(
    ("name", "since"),
    [("", None), ("off", None), ("updated_after", "updated_after"), ("updated_at[gte]", "updated_at[gte]")],
)
def test_the_changed_since_parameter_is_off_until_it_is_named(name: str, since: str | None):
    assert CpodOptions(changed_since_param=name).since == since


@pytest.mark.parametrize(
    "wrong",
    [
        {"close_date_zone": "Mars/Olympus"},
        {"close_date_zone": "../etc/passwd"},
        {"changed_since_param": "a&b=c"},
        {"include_deleted_param": "a b"},
        {"user_path": "/users"},
        {"crm_path": "api/v1/crm"},
        {"crm_path": "/api/v1/crm/"},
        {"envelope": "rows/snake"},
        {"page_size": 501},
        {"auth_mode": "basic"},
        {"colour": "red"},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        CpodOptions(**wrong)
