"""Attention: what is well is not mentioned, and whatever is not says where, what and what to do, the urgent first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from edge.pages.attention import Sight, needs
from pipeline.backfill_report import Standing

AT = "2026-05-01T12:00:00.000Z"
WELL: dict[str, Any] = {
    "name": "eu", "source": "planhat", "state": "ok", "reason": None, "last_success": "2026-05-01T11:56:00.000Z",
    "deals": 7, "parked": 0, "outbox": 3, "held": 0, "paused": None, "drift": 0, "lacks": [],
}  # fmt: skip
LEDGER: dict[str, Any] = {"kind": "embedded", "ok": True, "message": "fine", "outbox": 3, "incidents": 0}
PAUSE = {"since": AT, "who": "ann", "reason": "a migration"}


def backfill(**changed: Any) -> Standing:
    usual: dict[str, Any] = {
        "id": 4, "connection": "eu", "state": "running", "reason": None, "since": None, "until": None, "done": 1,
        "failed": 0, "total": 3, "records": 9, "rate": None, "eta_seconds": None, "percent": 33, "expected": None,
    }  # fmt: skip
    return Standing(**(usual | changed), plan=[])


def sight(
    *connections: dict[str, Any],
    ledger: dict[str, Any] = LEDGER,
    backfills: tuple[Standing, ...] = (),
    **differing: int,
) -> Sight:
    status = {"connections": [WELL | one for one in connections], "ledger": ledger}
    return Sight(status, {"eu": timedelta(minutes=5), "us": timedelta(hours=6)}, differing, backfills, AT)


def test_what_is_well_needs_nobody():
    assert needs(sight({}, {"name": "us", "state": "new", "last_success": None}, backfills=(backfill(),))) == []


@pytest.mark.parametrize(
    ("seen", "urgent", "said", "href"),
    [
        (sight({"state": "refused", "reason": "401: bad token"}), True, "401: bad token", "/connections/eu"),
        (sight({"state": "failing", "reason": "it is away"}), True, "it is away", "/connections/eu"),
        (sight({"held": 1600}), True, "1,600 events held", "/held?connection=eu"),
        (sight({"parked": 2}), True, "2 parked: records or events", "/parked?connection=eu"),
        (sight({"state": "paused", "paused": PAUSE}), False, "paused by ann: a migration", "/connections/eu"),
        (sight({"drift": 12}), False, "12 keys neither mapped nor ignored", "/connections/eu/drift"),
        (sight({"lacks": ["users may not be read"]}), False, "users may not be read", "/connections/eu"),
        (sight({"last_success": "2026-05-01T11:44:00.000Z"}), True, "nobody has read it", "/connections/eu"),
        (sight({}, eu=2), True, "in 2 close months", "/connections/eu/windows"),
        (sight(ledger=LEDGER | {"ok": False, "message": "no answer"}), True, "no answer", "/"),
        (sight(ledger=LEDGER | {"incidents": 3}), True, "3 events met something in the ledger", "/incidents"),
        (sight(backfills=(backfill(state="failed", reason="403"),)), True, "403", "/backfills/4"),
        (sight(backfills=(backfill(failed=1),)), True, "1 of its 3 chunks failed", "/backfills/4"),
        (sight(backfills=(backfill(state="paused"),)), False, "paused", "/backfills/4"),
    ],
)
def test_each_trouble_says_where_what_and_what_to_do(seen: Sight, urgent: bool, said: str, href: str):
    (need,) = needs(seen)
    assert (need.urgent, need.href) == (urgent, href)
    assert said in need.what
    assert need.remedy.endswith(".")


def test_a_connection_is_late_by_its_own_interval():
    hours = {"name": "us", "last_success": "2026-05-01T00:00:00.000Z"}
    assert needs(sight(hours)) == []
    assert needs(sight(hours | {"last_success": "2026-04-30T17:59:00.000Z"}))[0].where == "us"
    assert needs(sight({"last_success": "2026-05-01T11:46:00.000Z"})) == [], "within a quarter of an hour nobody is"
    paused = sight({"state": "paused", "paused": PAUSE, "last_success": "2026-01-01T00:00:00.000Z"})
    assert [need.what for need in needs(paused)] == ["paused by ann: a migration"]


def test_one_of_a_kind_is_told_as_one():
    (need,) = needs(sight(ledger=LEDGER | {"incidents": 1}))
    assert need.what.startswith("1 event met")


def test_what_holds_up_money_comes_first():
    found = needs(sight({"state": "paused", "paused": PAUSE, "drift": 1, "parked": 1}, {"name": "us", "held": 2}, us=1))
    assert [need.urgent for need in found] == [True, True, True, False, False]
    assert [need.where for need in found] == ["eu", "us", "us", "eu", "eu"]
