"""The image: made from the lock and from nothing else, and able to do no more than it must."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.deploy.files import DEPLOY, ROOT, compose, image_environment, instructions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD, FINAL = instructions()[1], instructions()[-1]
IGNORE = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()


def words(word: str, stage: list = FINAL) -> list[str]:
    return [one.given for one in stage if one.word == word]


def test_hadolint_finds_nothing():
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_image_is_pinned_by_its_tag():
    given = [one.given.split()[0] for stage in instructions() for one in stage if one.word == "FROM"]
    given += [service["image"] for service in compose()["services"].values()]
    assert [image for image in given if not re.search(r":[\w.-]*\d[\w.-]*$", image)] == []


def test_it_is_built_from_the_lock_whose_every_file_has_a_hash():
    runs = words("RUN", BUILD)
    assert len(runs) == 2
    assert all(re.match(r"uv sync --locked --no-dev ", run) for run in runs)
    files = re.findall(r"\{ url = [^}]*\}", (ROOT / "uv.lock").read_text())
    assert len(files) > 500
    assert [one for one in files if 'hash = "sha256:' not in one] == []


def test_every_installation_of_it_has_all_extras_so_that_no_command_asks_for_another_image():
    extras = [f"--extra {name}" for name in PROJECT["project"]["optional-dependencies"]]
    assert extras
    assert all(extra in run for run in words("RUN", BUILD) for extra in extras)


def test_it_runs_as_nobody_in_particular_and_needs_no_shell():
    assert (words("USER"), words("WORKDIR")) == (["10001:10001"], ["/"])
    assert words("RUN") == []
    (check,) = words("HEALTHCHECK")
    for given in (words("CMD")[0], check.partition("CMD ")[2]):
        assert json.loads(given)[0] in ("dealsync", "python")


def test_its_version_and_its_python_are_those_that_are_tested():
    version = PROJECT["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in " ".join(words("LABEL"))
    ours = {one["image"] for one in compose()["services"].values() if "build" in one}
    assert ours == {f"dealsync:{version}"}
    python = f"python:{PROJECT['tool']['mypy']['python_version']}-slim-bookworm"
    assert [stage[0].given.split()[0] for stage in instructions()[1:]] == [python, python]


def test_it_is_told_no_secret():
    told = {**image_environment(BUILD), **image_environment(FINAL)}
    assert [name for name in told if re.search(r"TOKEN|SECRET|PASSWORD|KEY", name)] == []


def test_it_is_built_from_what_the_package_holds_and_nothing_else():
    assert IGNORE[1] == "*"
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "uv.lock", PROJECT["project"]["readme"]}
    assert {line[1:] for line in IGNORE if line.startswith("!")} == wanted
