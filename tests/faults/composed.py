"""The deployment that compose describes, as plain processes: its own commands, one process a service."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.files import services
from tests.faults.topology import Topology


class Composed(Topology):
    """The services of deploy/compose.yaml that run our image, over a ledger embedded in the store, as it is there."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, embedded=True)

    def commands(self) -> dict[str, tuple[str, ...]]:
        """The commands of the file, with an address of this machine in them. The migration is over by then."""
        found = {}
        for name, service in services().items():
            command = [word.replace("0.0.0.0", "127.0.0.1") for word in service["command"]]
            if command[:2] == ["dealsync", "serve"]:
                command += ["--port", str(self.ports[0])]
            if name != "migrate":
                found[name] = tuple(command)
        return found
