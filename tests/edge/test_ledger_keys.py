"""Keys of the ledger's API from the command line, and the API they open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_deals_can_be_published_to_a_ledger_served_elsewhere(
    cli: Cli, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "theirs").mkdir()
    theirs = tmp_path / "theirs" / "dealsync.toml"
    theirs.write_text("")
    scopes = ("--scope", "deals:write", "--scope", "deals:read")
    key = cli("ledger", "keys", "create", "ours", *scopes, "--config", theirs, "--json").document["key"]
    arguments = ["ledger", "serve", "--port", "0", "--json", "--config", str(theirs)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", "from edge.cli.main import main; main()", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")["url"]
        for name, value in {"KIND": "openquota", "URL": url, "API_KEY": key}.items():
            monkeypatch.setenv(f"DEALSYNC__LEDGER__{name}", value)
        assert cli("pull", "planhat").code == 0
        published = cli("publish", "--json")
        assert (published.code, published.document["published"]) == (0, 12), published.err
        assert cli("check", "--json").document["ok"] is True
        assert cli("doctor").code == 0
        monkeypatch.setenv("DEALSYNC__LEDGER__API_KEY", "oqp_wrong-canary")
        refused = cli("check")
        assert refused.code == 4
        assert "wrong-canary" not in refused.out + refused.err
    finally:
        process.terminate()
        _, err = process.communicate(timeout=15)
    assert process.returncode == 0
    assert key.encode() not in err
    for name in ("KIND", "URL", "API_KEY"):
        monkeypatch.delenv(f"DEALSYNC__LEDGER__{name}")
    assert cli("ledger", "verify", "--config", theirs, "--json").document["events"] == 12


def test_who_made_and_revoked_a_key_and_rebuilt_the_ledger_is_kept_with_the_reason(cli: Cli, configured: Path):
    person = ("--as", "ann", "--reason", "an audit")
    made = cli("ledger", "keys", "create", "finance", "--scope", "deals:read", *person, "--json").document["key_id"]
    assert cli("ledger", "keys", "revoke", made, *person).code == 0
    assert cli("ledger", "keys", "revoke", made, *person).code == 2, "it was not in force: nothing was done"
    assert cli("ledger", "rebuild", *person).code == 0
    kept = cli("audit", "--json").document["audit"]
    assert [(one["action"], one["target"], one["outcome"]) for one in kept] == [
        ("ledger keys create", made, "made for finance: deals:read"),
        ("ledger keys revoke", made, "revoked"),
        ("ledger rebuild", "org_default", "0 deals made anew"),
    ]
    assert {(one["who"], one["reason"], one["connection"]) for one in kept} == {("ann", "an audit", None)}
