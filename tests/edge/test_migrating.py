"""`dealsync migrate`: says what it did to store and ledger, and leaves what a newer version made alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.engine import connect
from tests.edge.conftest import Cli

VERSIONS = ["store_alembic_version", "ledger_alembic_version"]


@pytest.fixture
def at_postgres(configured: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DEALSYNC__STORE__URL", postgres_url)
    return postgres_url


def test_each_migration_of_store_and_ledger_is_named(cli: Cli, at_postgres: str):
    ended = cli("migrate")
    assert ended.code == 0
    assert {line.split(":")[0] for line in ended.out.splitlines()} == {"store", "ledger"}


@pytest.mark.parametrize("table", VERSIONS)
@pytest.mark.parametrize("command", ["migrate", "status"])
def test_what_a_newer_version_made_is_left_alone(cli: Cli, at_postgres: str, table: str, command: str):
    cli("migrate")
    engine = connect(at_postgres)
    with engine.begin() as tx:
        tx.execute(text(f"UPDATE {table} SET version_num = 'from_the_future'"))
    engine.dispose()
    ended = cli(command)
    assert ended.code == 3
    assert len(ended.err.splitlines()) == 1
    assert "was migrated by a newer dealsync (to from_the_future): upgrade this one" in ended.err


def test_whoever_changes_to_the_embedded_ledger_finds_its_tables_there(cli: Cli, at_postgres: str, tmp_path: Path):
    remote = (tmp_path / "dealsync.toml").read_text()
    secret = tmp_path / "key"
    secret.write_text("ledger-key")
    ledger = f'[ledger]\nkind = "openquota"\nurl = "http://127.0.0.1:9/v1"\napi_key = {{ file = "{secret}" }}\n'
    (tmp_path / "remote.toml").write_text(remote + ledger)
    assert cli("--config", "remote.toml", "migrate").code == 0
    assert cli("status").code == 0


def test_keys_of_a_ledger_elsewhere_are_not_made_here(cli: Cli, at_postgres: str, tmp_path: Path):
    secret = tmp_path / "key"
    secret.write_text("ledger-key")
    file = tmp_path / "dealsync.toml"
    ledger = f'[ledger]\nkind = "openquota"\nurl = "http://127.0.0.1:9/v1"\napi_key = {{ file = "{secret}" }}\n'
    file.write_text(file.read_text() + ledger)
    for command in (["keys", "list"], ["keys", "create", "x", "--scope", "ingest:write"], ["keys", "revoke", "x"]):
        ended = cli("ledger", *command)
        assert ended.code == 3
        assert "gives out its keys" in ended.err
