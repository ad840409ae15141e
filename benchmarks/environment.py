"""The peers' own environment: made with uv from pinned requirements, so that none of it is ours."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Failed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / ".peers"
REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"


def peers_python() -> Path:
    """The interpreter that has the peers' packages; its environment is made anew when the requirements changed.

    Raises `Failed` when it cannot be made.
    """
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".made-from"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = _uv()
        try:
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, FOLDER], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", REQUIREMENTS], check=True)
        except subprocess.CalledProcessError as error:
            raise Failed(f"the peers' environment could not be made: uv ended with {error.returncode}") from None
        stamp.write_text(wanted)
    return python


def version_of(package: str) -> str:
    """The pinned version of one of the peers' packages."""
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    return pins[package]


def _uv() -> str:
    # `uv run`, which `make bench` goes through, names itself in the environment.
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    if not Path(found).exists():
        raise Failed("uv is missing: run `make setup` once, or leave the peers out with --only")
    return found
