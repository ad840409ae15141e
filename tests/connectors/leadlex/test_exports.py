"""CSV exports: read whole or not at all, and never more than a witness of ids."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connectors.faults import Misconfigured, RateLimited, Unintelligible
from connectors.leadlex.api import MISCOUNTED
from connectors.leadlex.exports import UNJOINED, Headline, NotNow, parsed
from connectors.simulated_wire import Answer, Handler, Request
from tests.connectors.leadlex.reading import Tenant
from tests.connectors.pulls import swept

HEAD = b"id,name,status,value,currency,created_at\r\n"


def exports(tenant: Tenant) -> list[dict[str, str]]:
    """The parameters of the exports taken so far."""
    return [dict(call.query) for call in tenant.log if call.path.endswith("/export")]


def test_quotes_newlines_and_a_byte_order_mark_are_read_as_rfc_4180_says():
    body = b"\xef\xbb\xbf" + HEAD + b'd1,"a, ""b""\r\nc",won,=1+1,EUR,2026-03-01T10:00:00Z\r\n'
    assert parsed(body) == [Headline("d1", "won", "=1+1", "EUR", "2026-03-01T10:00:00.000Z")]


def test_columns_that_are_missing_are_empty():
    assert parsed(b"name,id\nx,d1\n") == [Headline("d1", "", "", "", None)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"name\r\nx\r\n",
        HEAD + b"d1,x,won",
        HEAD + b"d1,x,won,1,EUR,2026-03-01",
        HEAD + b'd1,"x,won,1,EUR,2026\r\n',
        HEAD + b"d1,\xff,won,1,EUR,\r\n",
        HEAD + b"d1,x,won,1,EUR,,extra\r\n",
        b"<html>maintenance</html>",
    ],
)
def test_a_csv_that_breaks_off_is_not_believed(body: bytes):
    with pytest.raises(Unintelligible):
        parsed(body)


def test_every_deal_is_named_with_its_headline():
    tenant = Tenant(40, csv_bom=True)
    rows = {row.id: row for row in tenant.reader().exported()}
    assert set(rows) == set(tenant.ids())
    deal = tenant.get(tenant.ids()[0])
    assert rows[deal["id"]].value == str(deal["estimated_value"])
    assert rows[deal["id"]].status in ("open", "won", "lost")


def test_exactly_as_many_rows_as_the_limit_count_as_cut_off_and_the_window_is_halved():
    tenant = Tenant(40)
    rows = list(tenant.reader(export_limit=16).exported("2023-09-01T00:00:00.000Z", "2026-03-03T00:00:00.000Z"))
    assert {row.id for row in rows} == set(tenant.ids())
    assert len(exports(tenant)) > 2


def test_the_eleventh_export_of_an_hour_is_not_asked_for():
    tenant, day = Tenant(5), "2026-03-02T00:00:00.000Z"
    reader = tenant.reader()
    for _ in range(10):
        list(reader.exported(day))
    with pytest.raises(NotNow, match="10 exports an hour"):
        list(reader.exported(day))
    assert [call.status for call in tenant.log if call.path.endswith("/export")] == [200] * 10
    tenant.clock.advance(timedelta(hours=1))
    assert list(reader.exported(day)) == []


def test_exports_that_others_took_are_a_429_that_is_not_asked_again():
    tenant = Tenant(5, exports_per_hour=0)
    with pytest.raises(NotNow):
        list(tenant.reader().exported())
    assert len(exports(tenant)) == 1


def test_ids_that_no_single_read_knows_are_not_believed():
    with pytest.raises(Misconfigured, match="not those of the list"):
        list(Tenant(40, csv_ids="other").reader().exported())


# -- as the witness of a sweep


def hiding(tenant: Tenant, deal: str) -> None:
    """Lists leave a deal out and count it all the same; a single read and the export know it."""

    def hide(request: Request, handle: Handler) -> Answer:
        tenant.records.serve_raw(deal, b'{"id":"%s","created_date":"x"}' % deal.encode())
        answer = handle(request)
        tenant.records.serve_raw(deal, None)
        cut = b'{"id":"%s","created_date":"x"}' % deal.encode()
        body = answer.body.replace(b"," + cut, b"").replace(cut + b",", b"").replace(cut, b"")
        return Answer(status=answer.status, body=body, headers=answer.headers)

    tenant.faults.sometimes(1.0, hide, where=lambda request: request.path.endswith("/deals"))


def test_a_deal_that_only_the_export_names_is_asked_for_and_read():
    tenant = Tenant(40)
    hidden = tenant.ids()[5]
    hiding(tenant, hidden)
    assert hidden not in swept(tenant.reader().everything(None))[0]
    assert hidden in swept(tenant.reader(use_csv_export=True).everything(None))[0]


def test_an_export_that_agrees_costs_one_request_and_takes_away_no_doubt_of_others():
    tenant = Tenant(40)
    ids, doubts = swept(tenant.reader().everything(None))
    before = tenant.asked
    assert swept(tenant.reader(use_csv_export=True).everything(None)) == (ids, doubts)
    assert tenant.asked - before == before + 1


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({"csv_cut": "mid_row"}, "breaks off"),
        ({"forbidden": frozenset({"export"})}, "may not export"),
        ({"exports_per_hour": 0}, "no further export"),
        ({"csv_ids": "other"}, UNJOINED),
    ],
)
def test_an_export_that_cannot_be_used_is_told_and_leaves_the_sweep_as_it_is(switches: dict[str, Any], words: str):
    tenant = Tenant(40, **switches)
    pages = list(tenant.reader(use_csv_export=True).everything(None))
    assert {record.source_id for page in pages for record in page.records} == set(tenant.ids())
    assert any(words in note for page in pages for note in page.notes)


def test_an_export_cut_between_its_rows_lifts_no_doubt():
    tenant = Tenant(40, csv_cut="between_rows", total="stale")
    _, doubts = swept(tenant.reader(use_csv_export=True).everything(None))
    assert MISCOUNTED in doubts


def test_the_day_that_ends_during_an_export_ends_the_sweep():
    tenant = Tenant(40, requests_per_day=100)
    tenant.spend(78)
    with pytest.raises(RateLimited, match="reading goes on"):
        list(tenant.reader(use_csv_export=True, limited=True).everything(None))
