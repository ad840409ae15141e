"""A client of the ledger's service, as fast as answers come.

Run as `python -m benchmarks.poster PORT WHAT SECONDS`, the key in `LEDGER_KEY`; WHAT is `constant`, `event` or
`batch`. It prints how many requests were answered, how fast and how.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time

import uvloop

from benchmarks.load import CONNECTIONS, Load, drive, posted

EVENTS_A_BATCH = 100
BATCHES_AT_ONCE = 4
WARM_UP_S = 1.0
PATHS = {"constant": "/constant", "event": "/v1/deals/events", "batch": "/v1/deals/events/batch"}
_STATE = (
    '{{"amount_cents":{0},"stage":"negotiation","close_date":"2026-09-30","owner_external_id":"usr_{1}",'
    '"currency":"USD","name":"A deal with a name of the usual length","region":"EMEA","seen_at":"2026-05-04"}}'
)
_EVENT = '{{"external_id":"bench:{0}","event_type":"upsert","dedup_key":"bench:{0}:1:{0:016x}","state":' + _STATE + "}}"


class Requests:
    """Requests of one kind; no event is sent twice."""

    def __init__(self, what: str, key: str) -> None:
        self._path = PATHS[what]
        self._many = what == "batch"
        self._authorization = f"authorization: Bearer {key}"
        self._numbers = itertools.count(int(time.time() * 1e6))

    def __call__(self) -> bytes:
        """The next one."""
        body = self._event()
        if self._many:
            body = '{"events":[' + ",".join([body, *(self._event() for _ in range(EVENTS_A_BATCH - 1))]) + "]}"
        return posted(self._path, body.encode(), self._authorization)

    def _event(self) -> str:
        number = next(self._numbers)
        return _EVENT.format(number, number % 97)


def main(port: str, what: str, seconds: str) -> None:
    """Ask for so many seconds, and print what came of it as a line of JSON."""
    load = Load(Requests(what, os.environ["LEDGER_KEY"]), warm_up_s=WARM_UP_S, seconds=float(seconds))
    connections = BATCHES_AT_ONCE if what == "batch" else CONNECTIONS
    print(json.dumps(uvloop.run(drive(int(port), load, connections))))


if __name__ == "__main__":
    main(*sys.argv[1:])
