"""The floor: the same pages read with httpx and thrown away."""

from __future__ import annotations

import json
import sys
import time

import httpx

PAGE = 2_000


def main(base_url: str) -> None:
    """Read every page once."""
    offset = 0
    with httpx.Client(base_url=base_url, timeout=60) as client:
        while len(client.get("/deals", params={"sort": "_id", "limit": PAGE, "offset": offset}).content) > 2:
            offset += PAGE


if __name__ == "__main__":
    begun = time.perf_counter()
    main(sys.argv[1])
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 3)}))
