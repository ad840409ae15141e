"""A store that hangs: monitors and senders are told so in time, and the server ends when it is told to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.edge.served import serving
from tests.edge.test_webhooks import in_inbox, migrated, saying
from tests.faults.backing import Postgres
from tests.ledger.pausing import paused

pytestmark = pytest.mark.long

_ASKED_ANEW_S = 1.1
"""For a second the server remembers that the store answered."""


def test_while_the_store_hangs_everybody_hears_503_and_the_server_can_be_ended(tmp_path: Path):
    postgres = Postgres()
    try:
        with postgres.admin() as admin:
            admin.execute("CREATE DATABASE store")
        store = postgres.url("store")
        migrated(tmp_path, store)
        with serving(tmp_path, store) as server:
            assert server.post(saying(1)).status_code == 202
            assert server.http.get("/readyz").status_code == 200
            with paused(postgres):
                time.sleep(_ASKED_ANEW_S)
                ready = server.http.get("/readyz")
                assert (ready.status_code, ready.headers["retry-after"]) == (503, "2")
                answer = server.post(saying(2))
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
                assert server.http.get("/livez").status_code == 200
                begun = time.monotonic()
                assert server.end() == 0
                assert time.monotonic() - begun < 15
        with serving(tmp_path, store) as server:
            assert server.post(saying(1)).status_code == 200
            assert server.post(saying(2)).status_code in (200, 202)
            assert sorted(in_inbox(store).values()) == [saying(1), saying(2)]
    finally:
        postgres.close()
