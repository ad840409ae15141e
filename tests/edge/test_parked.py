"""Parked entries by command, where the configuration has changed since they were parked."""

from __future__ import annotations

from pathlib import Path

from connectors.planhat.simulator import PlanhatSimulator
from tests.edge.conftest import Cli


def test_what_is_parked_of_a_connection_that_was_removed_holds_up_no_retry_of_the_others(
    cli: Cli, configured: Path, crm: PlanhatSimulator
):
    """The one that was removed comes first by its name."""
    both = configured.read_text()
    configured.write_text(both + both[both.index("[connections.planhat]") :].replace("planhat]", "gone]", 1).replace(
        "[connections.planhat.", "[connections.gone."
    ))  # fmt: skip
    crm.edit(crm.ids()[0], stage="Unheard Of")
    for name in ("gone", "planhat"):
        assert cli("pull", name).code == 5
    configured.write_text(both)
    (retried,) = cli("parked", "retry", "--all", "--json").document["retried"]
    assert (retried["connection"], retried["read"]) == ("planhat", 1)
    assert "nothing to retry" in cli("parked", "retry", "--code", "NO_SUCH").err
    assert len(cli("parked", "list", "--json").document["parked"]) == 2
