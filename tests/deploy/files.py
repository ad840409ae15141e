"""What lies in `deploy/`, read: services, units and instructions; and the queues that workers take their work from."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.is_file())


class Instruction(NamedTuple):
    """One instruction of the Dockerfile: `RUN`, and what it is given, on one line and without its options."""

    word: str
    given: str


def queues() -> set[str]:
    """The queues that `worker.py` declares; it is read, for nobody imports it."""
    for node in ast.parse((ROOT / "worker.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "QUEUES":
            return set(ast.literal_eval(node.value))
    raise AssertionError("worker.py has lost its QUEUES")


@cache
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def services() -> dict[str, dict[str, Any]]:
    """The services that run our own image."""
    return {name: one for name, one in compose()["services"].items() if one["image"].startswith("dealsync:")}


def environment() -> dict[str, str]:
    """What `env.example` sets; what is empty there is a secret."""
    lines = (DEPLOY / "env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@cache
def instructions() -> list[list[Instruction]]:
    """The Dockerfile's instructions, a list a stage."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, re.sub(r"\\\n\s*", "", text).splitlines())):
        word, given = line.split(None, 1)
        if word == "FROM":
            stages.append([])
        if word != "HEALTHCHECK":
            given = re.sub(r"^(--\S+\s+)+", "", given)
        stages[-1].append(Instruction(word, given))
    return stages


def image_environment(stage: list[Instruction]) -> dict[str, str]:
    """What a stage's `ENV` sets."""
    given = [word for one in stage if one.word == "ENV" for word in shlex.split(one.given)]
    return dict(word.split("=", 1) for word in given)


@cache
def unit(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The sections of a systemd unit, with their keys and values in their order."""
    sections: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            sections[section] = []
        elif line and not line.startswith("#"):
            key, found, value = line.partition("=")
            assert found, f"{path.name}: {line}"
            sections[section].append((key, value))
    return sections


def commands() -> set[tuple[str, ...]]:
    """Every command that compose runs our image with."""
    return {tuple(one["command"]) for one in services().values()}
