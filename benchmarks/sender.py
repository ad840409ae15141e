"""A sender of signed deliveries, as fast as answers come.

Run as `python -m benchmarks.sender PORT PATH SECONDS FORGED`: it prints how many were answered, how fast and how.
"""

from __future__ import annotations

import hmac
import itertools
import json
import sys
import time

import uvloop

from benchmarks.load import CONNECTIONS, Load, drive, posted

__all__ = ["CONNECTIONS", "SECRET"]

SECRET = "of-the-benchmark"
WARM_UP_S = 2.0
_BODY = (
    '{{"v":1,"tenant":"bench","model":"Deal","op":"update","id":"{0:024x}","updatedAt":"2026-05-04T09:12:31.{1:03}Z",'
    '"note":"a delivery is rarely smaller than this one, nor is it often much larger than half of a thousand bytes"}}'
)


class Deliveries:
    """Deliveries, none of them ever sent before, signed with the secret or, forged, with another."""

    def __init__(self, path: str, *, forged: bool) -> None:
        self._path = path
        self._secret = (SECRET + "!" * forged).encode()
        self._numbers = itertools.count(int(time.time() * 1e6))

    def __call__(self) -> bytes:
        """The next one."""
        number = next(self._numbers)
        body = _BODY.format(number, number % 1000).encode()
        signature = hmac.digest(self._secret, body, "sha256").hex()
        return posted(self._path, body, f"x-signature: sha256={signature}")


def main(port: str, path: str, seconds: str, truth: str) -> None:
    """Send for so many seconds, and print what came of it as a line of JSON."""
    load = Load(Deliveries(path, forged=truth == "forged"), warm_up_s=WARM_UP_S, seconds=float(seconds))
    print(json.dumps(uvloop.run(drive(int(port), load))))


if __name__ == "__main__":
    main(*sys.argv[1:])
