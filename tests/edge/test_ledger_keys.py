"""Keys of the ledger's API from the command line."""

from __future__ import annotations

from pathlib import Path

from tests.edge.conftest import Cli


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(cli: Cli, configured: Path):
    made = cli("ledger", "keys", "create", "dealsync", "--scope", "deals:write", "--scope", "deals:read", "--json")
    assert made.code == 0, made.err
    key = made.document
    assert set(key) == {"key_id", "key", "prefix", "org", "scopes", "rpm"}
    listed = cli("ledger", "keys", "list", "--json")
    assert key["key"] not in listed.out
    assert [one["key_id"] for one in listed.document["keys"]] == [key["key_id"]]
    assert key["prefix"] in cli("ledger", "keys", "list").out
    assert cli("ledger", "keys", "revoke", key["key_id"], "--json").document == {"revoked": True}
    again = cli("ledger", "keys", "revoke", key["key_id"])
    assert again.code == 2
    assert "there is no key" in again.err


def test_an_unknown_scope_is_refused(cli: Cli, configured: Path):
    ended = cli("ledger", "keys", "create", "x", "--scope", "everything")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1


def test_another_ledger_cannot_be_verified_from_here(cli: Cli, configured: Path):
    configured.write_text(
        configured.read_text() + '[ledger]\nkind = "openquota"\napi_key = { env = "PLANHAT_TOKEN" }\n'
    )
    ended = cli("ledger", "verify")
    assert ended.code == 3
