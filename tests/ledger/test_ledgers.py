"""Every ledger keeps every promise of the kit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.ledger import kit, subjects
from tests.ledger.subjects import Subject


@pytest.fixture(scope="module")
def worlds(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    """One ledger of each kind; the tests take fresh ones of the same kind, each an org of its own."""
    file = tmp_path_factory.mktemp("ledgers") / "store.db"
    with (
        servers.database(postgres_server) as postgres_url,
        subjects.engine_at(postgres_url) as postgres,
        subjects.engine_at(f"sqlite:///{file}") as sqlite,
        subjects.remote(sqlite, batches=False) as remote,
        subjects.remote(sqlite, batches=True) as batching,
    ):
        yield {
            "memory": subjects.memory(),
            "embedded on SQLite": subjects.embedded(sqlite),
            "embedded on PostgreSQL": subjects.embedded(postgres),
            "remote": remote,
            "remote, by batches": batching,
        }


@pytest.fixture(params=["memory", "embedded on SQLite", "embedded on PostgreSQL", "remote", "remote, by batches"])
def subject(request: pytest.FixtureRequest, worlds: dict[str, Subject]) -> Subject:
    return worlds[request.param].fresh()


class TestEachKeyOnce(kit.EachKeyOnce):
    """See the kit."""


class TestOneLaneADeal(kit.OneLaneADeal):
    """See the kit."""


class TestStateIsKept(kit.StateIsKept):
    """See the kit."""


class TestDeletionIsAnEvent(kit.DeletionIsAnEvent):
    """See the kit."""


class TestRefusesForEver(kit.RefusesForEver):
    """See the kit."""


class TestListsEveryDeal(kit.ListsEveryDeal):
    """See the kit."""


class TestAnyHistoryFolds(kit.AnyHistoryFolds):
    """See the kit."""
