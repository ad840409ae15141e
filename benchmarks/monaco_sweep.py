"""A sweep of a Monaco organization at 500 rows a page, through the whole pipeline into SQLite: memory must not grow.

`python -m benchmarks.monaco_sweep [DEALS ...]`: one JSON line for each number of opportunities. What is measured is the
`dealsync` process alone. The organization is served by the simulator in a process of its own: whoever starts a process
hands on the peak of its own memory to it, so whoever measures must stay small.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks import stage
from benchmarks.measure import Ended, Failed, Running

CONNECTION = "bench"
PAGE = 500
SERVE = "serve"
PASSES = ("first sweep", "second sweep, nothing changed")

_SETTINGS = """\
[store]
url = "sqlite:///dealsync.db"
[connections.{connection}]
source = "monaco"
base_url = "{url}"
token = {{ env = "BENCH_TOKEN" }}
[connections.{connection}.options]
amount_unit = "minor"
page_size = {page}
requests_per_hour = 1000000
"""


def figures(deals: int) -> dict[str, float]:
    """Peak memory (10^6 bytes), seconds, CPU seconds and requests of each pass over so many opportunities.

    Raises `Failed` where a pass read fewer than there are, or the second one made an event.
    """
    found: dict[str, float] = {}
    organization = stage.conversing("benchmarks.monaco_sweep", SERVE, str(deals))
    with tempfile.TemporaryDirectory(prefix="dealsync-bench-") as folder, organization as (address, ask):
        text = _SETTINGS.format(connection=CONNECTION, url=address["url"], page=PAGE)
        (Path(folder) / "dealsync.toml").write_text(text)
        for place, name in enumerate(PASSES):
            before = ask("")
            ended = _swept(Path(folder), address["token"])
            _must_be_whole(ended, deals, idle=place > 0)
            title = f"monaco: {name} of {deals:,}"
            found |= {
                f"{title}: peak MB": round(ended.spent.peak_mb, 1),
                f"{title}: s": round(ended.spent.wall_s, 1),
                f"{title}: CPU s": round(ended.spent.cpu_s, 1),
                f"{title}: requests (least: {-(-deals // PAGE)})": ask("") - before,
            }
    return found


def serving(deals: int) -> None:
    """Serve such an organization; to each line on stdin, say how often it was asked, and end when stdin does."""
    from connectors.monaco.simulated_switches import Switches
    from connectors.monaco.simulator import TOKEN, MonacoSimulator
    from connectors.simulation import asgi, serve

    crm = MonacoSimulator(seed=20, deals=deals, switches=Switches(requests_per_hour=None))
    with serve(asgi(crm)) as url:
        print(json.dumps({"url": url, "token": TOKEN}), flush=True)
        for _ in sys.stdin:
            print(len(crm.log), flush=True)


def _swept(folder: Path, token: str) -> Ended:
    environment = {**stage.environment(folder), "BENCH_TOKEN": token}
    return Running([stage.DEALSYNC, "sweep", CONNECTION, "--json"], folder=folder, environment=environment).wait()


def _must_be_whole(ended: Ended, deals: int, *, idle: bool) -> None:
    said = ended.said
    read, events = said.get("read"), said.get("events")
    if not isinstance(read, int) or read < deals:
        raise Failed(f"the sweep read {read} of {deals:,} opportunities")
    if (events != 0) if idle else (events != deals):
        raise Failed(f"the sweep made {events} events of {deals:,} opportunities")


def main() -> None:
    """Sweep an organization of each size named on the command line; 10,000 and 100,000 otherwise."""
    if sys.argv[1:2] == [SERVE]:
        serving(int(sys.argv[2]))
        return
    for deals in [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]:
        print(json.dumps(figures(deals)), flush=True)


if __name__ == "__main__":
    main()
