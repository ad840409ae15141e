"""A publisher that follows a pull as a worker does: one process, the same verb again and again, until the pull ends.

Run as `python -m benchmarks.publisher FLAG`: it ends after the first pass that began when the file FLAG was there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pipeline.observe import configure
from pipeline.publish import publish
from pipeline.settings import load
from pipeline.wiring import open_app

PAUSE_S = 0.05


def follow(flag: Path) -> int:
    """Publish until the pull has ended and nothing is left; the number of events published."""
    total = 0
    with open_app(load(None, os.environ)) as app:
        while True:
            ended = flag.exists()
            published = publish(app).published
            total += published
            if ended:
                return total
            if not published:
                time.sleep(PAUSE_S)


if __name__ == "__main__":
    configure("json", "error")
    print(json.dumps({"published": follow(Path(sys.argv[1]))}))
