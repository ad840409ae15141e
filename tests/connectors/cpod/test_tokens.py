"""Tokens are swapped for, renewed in time and once after a 401, and never told to anybody else."""

from __future__ import annotations

import base64
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from connectors.cpod.simulated_tokens import API_KEY, CLIENT_SECRET
from connectors.cpod.tokens import claims
from connectors.faults import Misconfigured, Refused, Unavailable, Unintelligible
from connectors.simulated_wire import Request, html, refused, saying
from tests.connectors.cpod.reading import DEALS, Tenant
from tests.connectors.pulls import swept

TOKEN_PATH = "/api/v1/auth/token"


def swaps(tenant: Tenant) -> int:
    return sum(call.path == TOKEN_PATH for call in tenant.log)


def at_the_desk(request: Request) -> bool:
    return request.path == TOKEN_PATH


def test_one_token_serves_a_whole_read():
    tenant = Tenant(50)
    swept(tenant.reader().everything(None))
    assert swaps(tenant) == 1


def test_a_token_is_renewed_at_four_fifths_of_its_life():
    tenant = Tenant(50, token_life_s=1000)
    reader = tenant.reader()
    pages = reader.everything(None)
    next(pages)
    tenant.clock.advance(799)
    next(pages)
    assert swaps(tenant) == 1
    tenant.clock.advance(1)
    next(pages)
    assert swaps(tenant) == 2
    assert all(call.status == 200 for call in tenant.log)


@pytest.mark.parametrize("camel_token", [False, True])
def test_a_refresh_token_is_taken_notice_of_by_nobody(camel_token: bool, caplog: pytest.LogCaptureFixture):
    """A client's own secret is good for another token at any time, so there is nothing to refresh."""
    tenant = Tenant(50, camel_token=camel_token, refresh_token=True, token_life_s=100)
    sent: list[Request] = []
    tenant.faults.sometimes(1.0, lambda request, handle: (sent.append(request), handle(request))[1])
    reader = tenant.reader()
    pages = reader.everything(None)
    next(pages)
    tenant.clock.advance(90)
    living, _ = swept(pages)
    assert (len(living), swaps(tenant)) == (40, 2)
    assert not any(b"refresh" in request.body or "refresh" in str(request.headers) for request in sent)
    assert "refresh-" not in caplog.text + repr(reader) + repr(vars(reader))


@pytest.mark.parametrize("camel_token", [False, True])
def test_a_401_in_mid_scan_renews_the_token_once_and_reads_on_at_the_same_cursor(camel_token: bool):
    tenant = Tenant(50, camel_token=camel_token)
    pages = tenant.reader().everything(None)
    next(pages)
    tenant.desk.revoke()
    living, doubts = swept(pages)
    assert (len(living), doubts) == (40, set())
    assert swaps(tenant) == 2
    asked = [call.query.get("cursor") for call in tenant.log if call.path == DEALS]
    assert asked[1] == asked[2]
    assert [call.status for call in tenant.log].count(401) == 1


def test_a_401_that_stays_is_a_refusal_after_one_renewal():
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, refused(401), where=lambda request: request.path == DEALS)
    with pytest.raises(Refused, match="check the credentials and auth_mode"):
        list(tenant.reader().changed(None))
    assert swaps(tenant) == 2


def test_several_threads_that_meet_a_401_together_renew_the_token_once():
    tenant = Tenant(5)
    reader = tenant.reader()
    deal = tenant.ids()[0]
    reader.one(deal)
    tenant.desk.revoke()
    barrier = Barrier(4)

    def one(_: int) -> Any:
        barrier.wait(timeout=10)
        return reader.one(deal)

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(one, range(4)))) == 4
    assert swaps(tenant) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_client_that_is_not_known_is_refused(status: int):
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, refused(status), where=at_the_desk)
    with pytest.raises(Refused, match="client_id and client_secret") as fault:
        list(tenant.reader().changed(None))
    assert CLIENT_SECRET not in str(fault.value).replace("sandbox.", "")


def test_a_wrong_secret_is_refused():
    tenant = Tenant(5)
    with pytest.raises(Refused):
        list(tenant.reader(credentials={**tenant.credentials, "client_secret": "other"}).changed(None))


@pytest.mark.parametrize(
    ("mishap", "fault"),
    [
        (refused(503), Unavailable),
        (html(), Unintelligible),
        (saying(b"{}"), Unintelligible),
        (saying(b'{"access_token":7}'), Unintelligible),
        (saying(b'{"access_token":"two words"}'), Unintelligible),
        (saying(b'{"access_token":""}'), Unintelligible),
    ],
)
def test_a_desk_that_stumbles_is_no_refusal(mishap: Any, fault: type[Exception]):
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, mishap, where=at_the_desk)
    with pytest.raises(fault):
        list(tenant.reader().changed(None))


def test_a_token_that_tells_its_life_in_its_claims_only_is_renewed_as_well():
    tenant = Tenant(5)
    now = int(tenant.clock.now.timestamp())
    payload = base64.urlsafe_b64encode(json.dumps({"iat": now, "exp": now + 100}).encode()).decode().rstrip("=")
    tenant.faults.sometimes(1.0, saying(b'{"access_token":"a.%s.c"}' % payload.encode()), where=at_the_desk)
    tenant.desk._good[f"a.{payload}.c"] = float("inf")
    reader = tenant.reader()
    list(reader.changed(None))
    tenant.clock.advance(timedelta(seconds=81))
    list(reader.changed(None))
    assert swaps(tenant) == 2


@pytest.mark.parametrize("mode", [None, "api_key_bearer", "user_token"])
def test_a_token_that_was_given_is_sent_as_it_is(mode: str | None):
    tenant = Tenant(5)
    reader = tenant.reader(credentials={"token": f" {API_KEY}\n"}, auth_mode=mode)
    assert len(swept(reader.everything(None))[0]) == 5
    assert swaps(tenant) == 0


def test_a_given_token_that_is_refused_is_not_renewed():
    tenant = Tenant(5)
    with pytest.raises(Refused):
        list(tenant.reader(credentials={"token": "nobody"}).changed(None))
    assert len(tenant.log) == 1


@pytest.mark.parametrize(
    ("credentials", "mode", "words"),
    [
        ({"token": "x"}, "client_credentials", "needs client_id and client_secret"),
        ({"client_id": "a", "client_secret": "b"}, "user_token", "needs a token"),
        ({"client_id": "a", "client_secret": " "}, None, "client_secret is empty"),
        ({"token": "two words"}, None, "token has characters"),
    ],
)
def test_credentials_that_cannot_work_are_misconfigured(credentials: dict[str, str], mode: str | None, words: str):
    with pytest.raises(Misconfigured, match=words):
        Tenant(1).reader(credentials=credentials, auth_mode=mode)


def test_no_token_and_no_secret_is_in_any_message_log_line_or_repr(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    tenant = Tenant(5)
    secret = "canary-7d1e"
    reader = tenant.reader(credentials={**tenant.credentials, "client_secret": secret})
    with caplog.at_level(logging.DEBUG), pytest.raises(Refused) as fault:
        list(reader.changed(None))
    working = tenant.reader()
    list(working.changed(None))
    token = working._lists.tokens._current().text
    told = [str(fault.value), repr(fault.value), caplog.text, *capsys.readouterr()]
    told += [repr(reader._lists.tokens), repr(working._lists.tokens), repr(working._lists.tokens._current())]
    assert not [line for line in told if secret in line or token in line]


@pytest.mark.parametrize("odd", ["", "a", "a.b", "a.!.c", "a.e30.c", "a.WzFd.c", "a..c", "a.b.c.d"])
def test_whatever_is_no_jwt_claims_nothing(odd: str):
    assert claims(odd) == {}
