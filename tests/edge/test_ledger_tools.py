"""The embedded ledger from the command line: a period in a file, a verdict held against an earlier one, the audit."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from ledger.embedded import EmbeddedLedger
from ledger.engine import connect
from pipeline.ledger_tools import service_app
from pipeline.settings import load
from tests.edge.conftest import Cli
from tests.ledger.serving import served
from tests.ledger.subjects import event


@pytest.fixture
def filled(cli: Cli, configured: Path) -> Path:
    """A configuration whose ledger holds the events of twelve deals."""
    assert cli("pull", "planhat").code == 0
    assert cli("publish").code == 0
    return configured


def lines(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def test_a_period_is_written_and_its_digests_are_told(cli: Cli, filled: Path, tmp_path: Path):
    file = tmp_path / "out.csv"
    file.write_text("an older one")
    said = cli("ledger", "export", file, "--json").document
    assert set(said) == {"events", "digest", "before", "head", "sha256", "file"}
    assert (said["events"], said["file"]) == (12, str(file))
    assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [int(line["sequence"]) for line in lines(file)] == list(range(1, 13))
    assert lines(file)[-1]["hash"] == said["head"]
    told = cli("ledger", "export", file)
    assert f"12 events in {file}, digest {said['digest']}, head {said['head']}" in told.out
    assert said["sha256"] in told.err
    assert not list(tmp_path.glob(".*.part"))


def test_parquet_cites_the_digest_of_the_csv(cli: Cli, filled: Path, tmp_path: Path):
    table, packed = (cli("ledger", "export", tmp_path / name, "--json").document for name in ("out.csv", "out.PARQUET"))
    assert table["digest"] == packed["digest"]
    assert table["sha256"] != packed["sha256"]
    file = pq.ParquetFile(tmp_path / "out.PARQUET")
    assert file.metadata.metadata[b"dealsync.digest"].decode() == table["digest"]
    assert file.read().column("dedup_key").to_pylist() == [line["dedup_key"] for line in lines(tmp_path / "out.csv")]


def test_without_the_extra_parquet_is_refused_with_how_to_install_it(
    cli: Cli, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "ledger.parquet", raising=False)
    refused = cli("ledger", "export", tmp_path / "out.parquet")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.count("\n") == 1
    assert "pip install 'dealsync[parquet]'" in refused.err
    assert cli("ledger", "export", tmp_path / "out.csv").code == 0


def test_a_period_is_bounded_by_days_or_times_and_nonsense_is_refused(cli: Cli, filled: Path, tmp_path: Path):
    file = tmp_path / "out.csv"

    def events(*bounds: str) -> int:
        return int(cli("ledger", "export", file, *bounds, "--json").document["events"])

    assert events("--since", "2020-01-01", "--until", "2999-01-01T00:00:00+02:00") == 12
    assert events("--since", "2999-01-01") == events("--until", "2020-01-01") == 0
    for wrong in (("--since", "yesterday"), ("--until", "2026-04-01T00:00:00"), ("--since", "")):
        refused = cli("ledger", "export", file, *wrong)
        assert (refused.code, "neither a day" in refused.err) == (2, True)


def test_what_cannot_be_written_leaves_the_old_file(cli: Cli, filled: Path, tmp_path: Path):
    refused = cli("ledger", "export", tmp_path / "nowhere" / "out.csv")
    assert (refused.code, "cannot be written" in refused.err) == (2, True)
    old = tmp_path / "old.csv"
    old.write_text("old")
    store(filled, "DROP TABLE ledger_source_events")
    assert cli("ledger", "export", old).code != 0
    assert (old.read_text(), list(tmp_path.glob(".*.part"))) == ("old", [])


def test_another_org_has_a_period_of_its_own(cli: Cli, filled: Path, tmp_path: Path):
    assert cli("ledger", "export", tmp_path / "out.csv", "--org", "org_other", "--json").document["events"] == 0


def test_a_head_told_before_must_still_be_in_the_chain(cli: Cli, filled: Path, tmp_path: Path):
    said = cli("ledger", "verify")
    assert "the ledger is whole: 12 events, 12 deals" in said.out
    head = said.err.partition("head ")[2].partition(":")[0]
    assert head == cli("ledger", "export", tmp_path / "out.csv", "--json").document["head"]
    whole = cli("ledger", "verify", "--expect", head, "--json")
    assert (whole.code, whole.document["ok"], whole.document["head"]) == (0, True, head)
    assert "head" not in cli("ledger", "verify", "--json").document
    for other in ("0" * 63 + "1", "nonsense"):
        refused = cli("ledger", "verify", "--expect", other)
        assert (refused.code, "the ledger is damaged: ledger_domain_events: no event" in refused.err) == (8, True)
        assert cli("ledger", "verify", "--expect", other, "--json").document["first_bad"]["table"]
    lose_the_last(filled)
    assert cli("ledger", "verify").code == 0, "the loss of the newest events shows against a head only"
    lost = cli("ledger", "verify", "--expect", head)
    assert (lost.code, "gone" in lost.err) == (8, True)


@pytest.fixture
def shared(cli: Cli, filled: Path) -> Path:
    """A ledger in which another organisation has an event and a deal as well."""
    engine = connect(f"sqlite:///{filled.with_name('dealsync.db')}")
    ledger = EmbeddedLedger(engine, org="org_other", now=lambda: "2026-04-22T10:15:30.000Z")
    ledger.append([event()])
    engine.dispose()
    return filled


def test_without_a_name_the_chain_of_every_organisation_is_checked(cli: Cli, shared: Path):
    whole = cli("ledger", "verify")
    assert "the ledger of org_default is whole: 12 events, 12 deals" in whole.out
    assert "the ledger of org_other is whole: 1 events, 1 deals" in whole.out
    assert cli("ledger", "verify", "--json").document == {"ok": True, "events": 13, "deals": 13, "first_bad": None}
    assert cli("ledger", "verify", "--org", "org_other", "--json").document["events"] == 1
    store(shared, "UPDATE ledger_deals SET state = '{}' WHERE org_id = 'org_other'")
    damaged = cli("ledger", "verify")
    assert (damaged.code, "the ledger of org_other is damaged: ledger_deals" in damaged.err) == (8, True)
    assert "the ledger of org_default is whole" in damaged.out, "whoever is not concerned is told so"
    told = cli("ledger", "verify", "--json")
    assert (told.code, told.document["ok"]) == (8, False)
    assert told.document["first_bad"]["row"].startswith("deal_api_org_other")
    assert cli("ledger", "verify", "--org", "org_default").code == 0


def test_a_head_is_looked_for_in_the_chain_that_it_is_of(cli: Cli, shared: Path, tmp_path: Path):
    for org in ("org_default", "org_other"):
        head = cli("ledger", "export", tmp_path / "out.csv", "--org", org, "--json").document["head"]
        assert cli("ledger", "verify", "--expect", head, "--json").document["head"] == head
        assert cli("ledger", "verify", "--expect", head, "--org", org).code == 0
        other = {"org_default": "org_other", "org_other": "org_default"}[org]
        assert cli("ledger", "verify", "--expect", head, "--org", other).code == 8
    assert cli("ledger", "verify", "--expect", "0" * 63 + "1").code == 8


def test_the_deals_of_one_organisation_are_made_anew_and_whose_is_kept(cli: Cli, shared: Path):
    store(shared, "UPDATE ledger_deals SET state = '{}'")
    assert cli("ledger", "rebuild", "--org", "org_other", "--json").document == {"deals": 1}
    assert cli("ledger", "verify", "--org", "org_other").code == 0
    assert cli("ledger", "verify", "--org", "org_default").code == 8
    assert cli("ledger", "rebuild", "--json").document == {"deals": 12}
    assert cli("ledger", "verify").code == 0
    with closing(connect(f"sqlite:///{shared.with_name('dealsync.db')}").connect()) as tx:
        told = tx.execute(text("SELECT target, outcome FROM audits WHERE action = 'ledger rebuild' ORDER BY id"))
        assert list(told) == [("org_other", "1 deals made anew"), ("org_default", "12 deals made anew")]


@pytest.mark.parametrize("verb", ["verify", "rebuild"])
def test_an_organisation_of_which_nothing_is_there_is_a_slip_of_the_pen(cli: Cli, shared: Path, verb: str):
    refused = cli("ledger", verb, "--org", "org_othre")
    assert (refused.code, refused.out) == (2, "")
    assert "nothing of org_othre: it has org_default, org_other" in refused.err


def test_an_empty_ledger_is_whole(cli: Cli, configured: Path):
    assert cli("ledger", "verify", "--json").document == {"ok": True, "events": 0, "deals": 0, "first_bad": None}
    assert cli("ledger", "rebuild", "--json").document == {"deals": 0}


def lose_the_last(config: Path) -> None:
    last = "(SELECT {0} FROM ledger_domain_events ORDER BY sequence DESC LIMIT 1)"
    store(
        config,
        *(f"DROP TRIGGER {table}_no_delete" for table in ("ledger_source_events", "ledger_domain_events")),
        f"DELETE FROM ledger_deals WHERE id = {last.format('deal_id')}",
        f"DELETE FROM ledger_source_events WHERE id = {last.format('source_event_id')}",
        f"DELETE FROM ledger_domain_events WHERE sequence = {last.format('sequence')}",
    )


def store(config: Path, *statements: str) -> None:
    engine = connect(f"sqlite:///{config.with_name('dealsync.db')}")
    with engine.begin() as tx:
        for statement in statements:
            tx.execute(text(statement))
    engine.dispose()


def test_the_configuration_says_how_many_requests_may_wait(cli: Cli, configured: Path):
    made = cli("ledger", "keys", "create", "x", "--scope", "deals:write", "--json").document
    configured.write_text(configured.read_text() + "[ledger]\nmax_waiting = 1\n")
    body = {"external_id": "d", "dedup_key": "k", "state": {}}
    engine = connect(f"sqlite:///{configured.with_name('dealsync.db')}")
    with served(service_app(load(configured, {"PLANHAT_TOKEN": "t"}))) as address, ThreadPoolExecutor(8) as together:
        post = partial(httpx.post, f"{address}/v1/deals/events", headers={"Authorization": f"Bearer {made['key']}"})
        with engine.begin():  # SQLite's one writer
            waiting = [together.submit(post, json={**body, "dedup_key": f"k{number}"}) for number in range(8)]
            sent_away = [one.result() for one in islice(as_completed(waiting), 7)]
        statuses = sorted(one.result().status_code for one in waiting)
    engine.dispose()
    assert {answer.status_code for answer in sent_away} == {503}
    assert statuses == [201] + [503] * 7


@pytest.fixture
def used(cli: Cli, configured: Path) -> Iterator[dict[str, Any]]:
    """A key that asked the service for three things, one of which it may not."""
    made: dict[str, Any] = cli("ledger", "keys", "create", "x", "--scope", "deals:read", "--json").document
    with served(service_app(load(configured, {"PLANHAT_TOKEN": "t"}))) as address:
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {made['key']}"}) as client:
            client.get("/v1/")
            client.get("/v1/deals")
            client.post("/v1/deals/events", json={})
        yield made


def test_the_audit_tells_what_was_done_with_a_key_and_never_its_text(cli: Cli, used: dict[str, Any]):
    other = cli("ledger", "keys", "create", "y", "--scope", "deals:read", "--json").document
    wanted = [("created", 0, 1), ("GET /v1/", 200, 1), ("GET /v1/deals", 200, 1), ("POST /v1/deals/events", 403, 1)]
    for _ in range(2000):  # it is written a moment after the answer
        rows = cli("ledger", "keys", "audit", used["key_id"], "--json").document["audit"]
        if len(rows) == len(wanted):
            break
    assert [(row["action"], row["status"], row["calls"]) for row in rows] == wanted
    everything = cli("ledger", "keys", "audit", "--json")
    assert {row["key_id"] for row in everything.document["audit"]} == {used["key_id"], other["key_id"]}
    table = cli("ledger", "keys", "audit", used["key_id"])
    assert "POST /v1/deals/events" in table.out
    assert used["key"] not in everything.out + table.out
    assert "nothing was done" in cli("ledger", "keys", "audit", "ak_nobody").err
