"""`dealsync init` writes a configuration that works, and never overwrites one unasked."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.settings import load
from tests.edge.conftest import Cli


def test_init_writes_a_commented_configuration_that_is_sound(cli: Cli, tmp_path: Path):
    ended = cli("init")
    file = tmp_path / "dealsync.toml"
    assert ended.code == 0
    assert f"wrote {file}" in ended.out
    found = load(file, os.environ)
    assert found.connection("planhat").base_url == "http://127.0.0.1:8790/planhat"
    assert found.ledger.kind == "embedded"
    assert file.read_text().count("\n#") > 10


def test_init_prints_the_next_three_commands(cli: Cli):
    printed = [line.strip() for line in cli("init").out.splitlines() if line.startswith("  ")]
    assert len(printed) == 3
    assert [line.split("  ")[0] for line in printed] == [
        "dealsync sandbox",
        "PLANHAT_TOKEN=sandbox dealsync pull planhat",
        "dealsync publish",
    ]


def test_init_never_overwrites_without_force(cli: Cli, tmp_path: Path):
    file = tmp_path / "dealsync.toml"
    file.write_text("mine")
    refused = cli("init")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"dealsync: {file} is there already; --force overwrites it\n"
    assert file.read_text() == "mine"
    assert cli("init", "--force").code == 0
    assert "[store]" in file.read_text()


def test_init_writes_where_the_configuration_will_be_looked_for(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert cli("--config", "a.toml", "init").code == 0
    assert cli("init", "--config", "b.toml", "--json").document["file"] == str(tmp_path / "b.toml")
    monkeypatch.setenv("DEALSYNC_CONFIG", "c.toml")
    cli("init")
    assert {file.name for file in tmp_path.iterdir()} >= {"a.toml", "b.toml", "c.toml"}


def test_a_place_that_cannot_be_written_is_told(cli: Cli):
    ended = cli("init", "--config", "no/such/folder/x.toml")
    assert ended.code == 3
    assert "cannot be written: No such file or directory" in ended.err


def test_the_configuration_points_at_where_the_sandbox_listens(cli: Cli, tmp_path: Path):
    cli("init")
    port = urlsplit(load(tmp_path / "dealsync.toml", os.environ).connection("planhat").base_url).port
    assert f"[default: {port};" in " ".join(cli("sandbox", "--help").out.split())
