"""The peers as contenders: each pass is one process, as a schedule would start it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from benchmarks import measure, stage
from benchmarks.environment import peers_python
from benchmarks.results import NOTHING, PASSES, Result
from benchmarks.stage import PageServer
from benchmarks.tenant import Edition

EDITION_OF_PASS: dict[str, Edition] = dict(zip(PASSES, ("initial", "one_percent", "one_percent"), strict=True))


@dataclass(frozen=True, slots=True)
class Peer:
    """A script in `benchmarks/peers/`, called with the page server's and the database's address and `arguments`.

    `landed` is a query over its own table that gives the number of deals and the sum of their totals in cents.
    """

    name: str
    script: str
    landed: str
    arguments: Sequence[str] = ()

    def passes(self, pages: PageServer, server_url: str, folder: Path) -> Iterator[Result]:
        """First load, one per cent changed, nothing changed; each checked against what the source shows."""
        script = str(stage.ROOT / "benchmarks" / "peers" / f"{self.script}.py")
        python, environment = str(peers_python()), stage.environment(folder)
        with stage.database(server_url) as database_url:
            for name, edition in EDITION_OF_PASS.items():
                wanted = (pages.deals, pages.show(edition))
                stage.settle(server_url)
                command = [python, script, pages.url, _with_host(database_url), *self.arguments]
                measured = partial(measure.run, command, folder=folder, environment=environment)
                ended = measure.steady(measured) if name == NOTHING else measured()
                stage.must_equal(stage.sum_of(database_url, self.landed), wanted)
                yield Result(self.name, name, ended.spent)


def _with_host(database_url: str) -> str:
    """dlt wants a host by name even where the socket's folder stands in the query, which then decides."""
    parts = urlsplit(database_url)
    if parts.hostname or "host=" not in parts.query:
        return database_url
    return urlunsplit(parts._replace(netloc=f"{parts.netloc}localhost"))


_DLT = "SELECT count(*), round(sum(total::numeric) * 100) FROM planhat_data.deals"

PEERS = (
    Peer("plain script", "plain_script", "SELECT count(*), round(sum(total::numeric) * 100) FROM deals"),
    Peer("dlt as documented", "dlt_documented", _DLT),
    Peer("dlt tuned", "dlt_tuned", _DLT, ("cursor",)),
    Peer("dlt tuned, no cursor", "dlt_tuned", _DLT, ("everything",)),
)
