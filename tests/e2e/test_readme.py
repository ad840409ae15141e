"""The README's commands do what it says, in the order it gives them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The lines of the block that says it is run by this test."""
    block = re.search(r"run by tests/e2e/test_readme.py -->\n```console\n(.*?)```", README, re.DOTALL)
    assert block, "the README has lost its tested block"
    return [line.removeprefix("$ ") for line in block.group(1).splitlines()]


@pytest.mark.timeout(120)
def test_a_newcomer_can_follow_the_readme(tmp_path: Path):
    wait = "for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/8790) 2>/dev/null && break; sleep 0.1; done"
    lines = [f"{line}\n{wait}" if line.endswith("&") else line for line in commands()]
    script = "set -eum\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(lines)
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "planhat" in done.stdout


def test_every_command_the_readme_names_exists():
    named = set(re.findall(r"dealsync ([a-z]+(?: (?:list|show|suggest|lint|verify))?)", README)) - {"pulls"}
    for command in sorted(named):
        done = subprocess.run(
            [str(Path(sys.executable).parent / "dealsync"), *command.split(), "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"dealsync {command}: {done.stderr}"


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) - {"made", "made;"} <= targets


def test_every_file_the_readme_links_to_exists():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / target).exists(), target
