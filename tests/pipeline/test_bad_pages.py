"""Bad records and bad pages at the level of runs: a record parks alone, a page fails whole, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from connectors.faults import Fault, Unavailable, Unintelligible
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import cut_json, endless, html, saying
from pipeline.explain import explain
from pipeline.faults import Stopped
from pipeline.fetch import fetch
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked, show_parked
from pipeline.store.tables import checkpoints, runs
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN, ledger_states, projected, rows

DEEP = [b'"custom":{"deep":' + b"[" * depth + b"]" * depth + b"," for depth in (65, 100, 500, 985, 1000, 10_000)]
IGNORED = [b'"comment":' + b"[" * depth + b"]" * depth + b',"custom":{' for depth in (65, 500, 986, 988, 1000)]

UNREADABLE: list[tuple[str, bytes, bytes]] = [
    *((f"custom nested, {len(deep)} bytes", b'"custom":{', deep) for deep in DEEP),
    *((f"an ignored key nested, {len(deep)} bytes", b'"custom":{', deep) for deep in IGNORED),
    ("an amount of 40 digits", b'"total":', b'"total":%s,"was":' % (b"9" * 40)),
    ("an amount of 5000 digits", b'"total":', b'"total":%s,"was":' % (b"9" * 5000)),
    ("1e999", b'"total":', b'"total":1e999,"was":'),
    ("1e-999", b'"total":', b'"total":1e-999,"was":'),
    ("NaN", b'"total":', b'"total":NaN,"was":'),
    ("a key twice", b'"total":', b'"total":1,"total":'),
    ("a key twice in a custom field", b'"custom":{', b'"custom":{"x":{"a":1,"a":2},'),
    ("an amount that is a list", b'"total":', b'"total":[1],"was":'),
    ("an amount that is true", b'"total":', b'"total":true,"was":'),
    ("a stage that is an object", b'"stage":', b'"stage":{},"was":'),
    ("a day that is none", b'"closeDate":', b'"closeDate":"2026-02-30","was":'),
    ("custom that is text", b'"custom":{', b'"custom":"none","was":{'),
    ("a lone surrogate", b'"name":', b'"name":"\\ud800","was":'),
    ("bytes that are no text", b'"name":', b'"name":"\xff","was":'),
    ("a NUL", b'"name":', b'"name":"a\\u0000b","was":'),
    ("a mebibyte", b'"name":', b'"name":"%s","was":' % (b"x" * 1_100_000)),
]

READABLE: list[tuple[str, bytes, bytes]] = [
    ("an amount of 28 digits", b'"total":', b'"total":1234567890123456789012345678,"was":'),
    ("NUL in a key nobody claims", b'"custom":{', b'"odd\\u0000key":1,"custom":{'),
    ("NUL in a custom label", b'"custom":{', b'"custom":{"a\\u0000b":1,'),
    ("a key of 5000 characters", b'"custom":{', b'"%s":1,"custom":{' % (b"k" * 5000)),
    ("a thousand keys nobody claims", b'"custom":{', b"".join(b'"k%d":1,' % n for n in range(1000)) + b'"custom":{'),
    ("texts of another script", b'"name":', '"name":"Ünïcödé 交易 \U0001f4b0","was":'.encode()),
]


def garbled(crm: PlanhatSimulator, one: str, found: bytes, put: bytes) -> None:
    body = crm.served(one)
    assert body is not None
    assert found in body
    crm.raw(one, body.replace(found, put, 1))


def checkpoint(app: App) -> list[tuple[str, str]]:
    with app.store.read() as tx:
        return [tuple(row) for row in tx.execute(select(checkpoints.c.stream, checkpoints.c.cursor))]


def conserved(app: App) -> bool:
    lossy = 'SELECT count(*) FROM runs WHERE "read" <> applied + unchanged + superseded + parked + out_of_scope'
    with app.store.read() as tx:
        return tx.execute(text(lossy)).scalar_one() == 0


def test_records_nobody_can_read_are_parked_alone(app: App, crm: PlanhatSimulator):
    """All of them at once, each in a page with good ones; then again, and mended."""
    bad = dict(zip(crm.ids(), UNREADABLE, strict=False))
    for one, (_, found, put) in bad.items():
        garbled(crm, one, found, put)
    summary = pull(app, NAME)
    assert {deal.partition(":")[2] for deal in projected(app)} == set(crm.ids()) - bad.keys()
    entries = {entry["source_id"]: entry for entry in list_parked(app)}
    assert entries.keys() == bad.keys(), {bad[one][0] for one in bad.keys() - entries.keys()}
    assert summary.parked >= len(bad)
    for entry in entries.values():
        assert len(entry["message"]) < 500
        assert entry["message"].isprintable()
        assert show_parked(app, entry["id"])["raw"]
    before = rows(app)
    sweep(app, NAME)
    assert (rows(app), len(list(list_parked(app)))) == (before, len(bad))
    for one in bad:
        crm.mend(one)
    sweep(app, NAME)
    publish(app)
    assert list(list_parked(app)) == []
    assert set(ledger_states(app)) == {f"{NAME}:{one}" for one in crm.ids()}
    assert conserved(app)


@pytest.mark.parametrize(("found", "put"), [case[1:] for case in READABLE], ids=[case[0] for case in READABLE])
def test_records_that_are_odd_but_plain_land(app: App, crm: PlanhatSimulator, found: bytes, put: bytes):
    odd = crm.ids()[4]
    garbled(crm, odd, found, put)
    assert pull(app, NAME).applied == len(crm.ids())
    publish(app)
    assert ledger_states(app) == projected(app)
    assert explain(app, f"{NAME}:{odd}")["receipt"]


def test_an_amount_of_many_digits_is_exact(app: App, crm: PlanhatSimulator):
    odd = crm.ids()[4]
    garbled(crm, odd, b'"total":', b'"total":12345678901234567890123456.78,"was":')
    pull(app, NAME)
    publish(app)
    assert ledger_states(app)[f"{NAME}:{odd}"]["amount_cents"] == 1234567890123456789012345678


def test_a_record_with_a_thousand_problems_tells_a_few_of_them(app: App, crm: PlanhatSimulator):
    odd = crm.ids()[4]
    labels = b"".join(b'"L%d":%s,' % (n, b"[" * 40 + b"]" * 40) for n in range(1000))
    garbled(crm, odd, b'"custom":{', b'"custom":{' + labels)
    pull(app, NAME)
    (entry,) = list_parked(app)
    assert len(entry["message"]) < 1000
    assert entry["message"].endswith("; and 995 more")


def test_a_fetch_of_a_record_nobody_can_map_parks_it(app: App, crm: PlanhatSimulator):
    odd = crm.ids()[4]
    garbled(crm, odd, b'"custom":{', DEEP[1])
    assert fetch(app, NAME, odd).parked == 1
    assert [entry["reason"] for entry in list_parked(app)] == ["TOO_DEEP"]


ENDLESS_PAGE = "a page that is repeated for ever"
EARLY_END = "an empty page too early"

PAGES: dict[str, Callable[[PlanhatSimulator], Any]] = {
    "html with status 200": lambda crm: html(),
    "JSON that is cut": lambda crm: cut_json(),
    "nothing at all": lambda crm: saying(b""),
    "null": lambda crm: saying(b"null"),
    "an object": lambda crm: saying(b'{"data":[]}'),
    "brackets ten thousand deep": lambda crm: saying(b"[" * 10_000),
    "a body that never ends": lambda crm: endless(),
    ENDLESS_PAGE: lambda crm: saying(b"[" + b",".join(crm.served(one) or b"" for one in crm.ids()[:10]) + b"]"),
    EARLY_END: lambda crm: saying(b"[]"),
}


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_a_bad_page_leaves_the_checkpoint_of_the_page_before_and_costs_nothing(
    app: App, crm: PlanhatSimulator, kind: str
):
    deep_in = lambda request: int(request.query.get("offset", "0")) >= 16  # noqa: E731
    app.give_up_after_s = 0.0
    crm.faults.sometimes(1.0, PAGES[kind](crm), where=deep_in)
    with pytest.raises((Unintelligible, Unavailable)) as told:
        pull(app, NAME)
    assert len(str(told.value).splitlines()) == 1
    landed, cursor = set(projected(app)), checkpoint(app)
    assert 10 <= len(landed) < len(crm.ids())
    with pytest.raises(Fault):
        pull(app, NAME)
    if kind != ENDLESS_PAGE:  # there rows did come, and moved it
        assert checkpoint(app) == cursor, "the checkpoint moved although nothing was read"
    with app.store.read() as tx:
        assert set(tx.execute(select(runs.c.state)).scalars()) == {"failed"}
    crm.faults.clear()
    pull(app, NAME)
    assert set(projected(app)) == {f"{NAME}:{one}" for one in crm.ids()}
    assert conserved(app)


@pytest.mark.parametrize("kind", [ENDLESS_PAGE, EARLY_END])
def test_a_sweep_that_is_led_astray_deletes_nothing(app: App, crm: PlanhatSimulator, kind: str):
    app.give_up_after_s = 0.0
    pull(app, NAME)
    for _ in range(3):
        crm.faults.sometimes(1.0, PAGES[kind](crm), where=lambda request: int(request.query.get("offset", "0")) >= 16)
        assert sweep(app, NAME).doubts
        crm.faults.clear()
    assert rows(app)["events"] == len(crm.ids())


def test_a_sweep_that_has_to_park_too_much_stops_and_leaves_nothing_lying_about(open_world):
    crm = PlanhatSimulator(seed=3, deals=230, token=TOKEN)
    app = open_world(crm, connection="park_limit = 0.01")
    for one in crm.ids()[150:170]:
        crm.edit(one, stage="Odd")
    with pytest.raises(Stopped):
        sweep(app, NAME)
    assert [stream for stream, _ in checkpoint(app)] == ["sweep"]
    for one in crm.ids()[150:170]:
        crm.edit(one, stage="Closed Won")
    assert not sweep(app, NAME).doubts
    assert checkpoint(app) == []
    with app.store.read() as tx:
        assert tx.execute(text("SELECT count(*) FROM sightings")).scalar_one() == 0
