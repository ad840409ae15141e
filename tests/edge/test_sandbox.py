"""What `dealsync sandbox` prints can be saved and used as it stands."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from connectors.registry import sources
from pipeline import settings
from tests.edge.test_main import started


def test_what_it_prints_is_a_configuration_and_the_variables_that_it_refers_to(tmp_path: Path):
    process = started("sandbox", "--port", "0", "--deals", "3")
    try:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.decode())
            if lines[-1].startswith("export PLANHAT_HOOK_SECRET"):  # the last of them
                break
    finally:
        process.kill()
        process.communicate()
    printed = "".join(lines)
    config = printed.partition("# a dealsync.toml that fits:\n")[2].partition("# and what")[0]
    assert tomllib.loads(config)["connections"].keys() == sources().keys()
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
    file = tmp_path / "dealsync.toml"
    file.write_text(config)
    assert set(re.findall(r'env = "(\w+)"', config)) == exported.keys()
    assert settings.load(file, exported).connection("planhat").base_url.endswith("/planhat")


def test_a_script_is_told_all_of_it_in_one_document():
    process = started("sandbox", "--port", "0", "--deals", "3", "--json")
    try:
        assert process.stdout is not None
        told = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")
    finally:
        process.kill()
        process.communicate()
    assert told["url"] == f"http://127.0.0.1:{told['port']}/planhat"
    assert told["control"] == f"http://127.0.0.1:{told['port']}/control"
    assert set(re.findall(r'env = "(\w+)"', told["config"])) == told["environment"].keys()
