"""The deployment that compose describes, as plain processes: its own commands, two processes a service."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.deploy.files import services
from tests.faults.topology import Topology

COPIES = 2


class Composed(Topology):
    """The services of deploy/compose.yaml that run our image, over a ledger embedded in the store, as it is there.

    Of each there are two, beat too: whoever doubles one by mistake, or while an old one is replaced, must lose nothing.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, embedded=True)

    def commands(self) -> dict[str, tuple[str, ...]]:
        """The commands of the file, with addresses of this machine in them. The migration is over by then."""
        found = {}
        for name, service in services().items():
            for copy in range(COPIES):
                command = [word.replace("0.0.0.0", "127.0.0.1") for word in service["command"]]
                if command[:2] == ["dealsync", "serve"]:
                    command += ["--port", str(self.ports[copy])]
                if name != "migrate":
                    found[f"{name}-{copy + 1}"] = tuple(command)
        return found

    def deliveries(self) -> list[int]:
        """How many deliveries each receiver has taken since it began."""
        taken = []
        for port in self.ports[:COPIES]:
            told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
            counters = re.findall(r"^dealsync_deliveries_total\{.*\} (\S+)$", told, re.MULTILINE)
            taken.append(round(sum(map(float, counters))))
        return taken
