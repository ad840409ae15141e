"""The README's commands do what it says, in the order it gives them, however fast they are typed."""

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
def test_a_newcomer_can_follow_the_readme(tmp_path: Path, port: int):
    """Word for word, but for the sandbox's port: somebody may be using the usual one."""
    typed = "\n".join(commands()).replace("dealsync sandbox &", f"dealsync sandbox --port {port} &")
    script = f"set -eum\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{typed}"
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DEALSYNC__CONNECTIONS__PLANHAT__BASE_URL": f"http://127.0.0.1:{port}/planhat",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "500 events" in done.stdout, "the pull's summary"
    assert "500 in the ledger" in done.stdout, "the publish's"
