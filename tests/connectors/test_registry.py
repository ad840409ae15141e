"""Sources are found by their folders, and a slip of the hand is answered with the nearest name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from connectors.faults import Misconfigured
from connectors.registry import declared, names, source, sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], ModuleType]]:
    """Makes a package of the given folders, each with the code of its `__init__`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(folders: dict[str, str]) -> ModuleType:
        for folder, code in folders.items():
            (tmp_path / "some_sources" / folder).mkdir(parents=True)
            (tmp_path / "some_sources" / folder / "__init__.py").write_text(code)
        (tmp_path / "some_sources" / "__init__.py").touch()
        return importlib.import_module("some_sources")

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "some_sources"]:
        del sys.modules[name]


def renamed(name: str) -> str:
    lines = ("import dataclasses", "from connectors.planhat import SOURCE as known")
    return "\n".join((*lines, f"SOURCE = dataclasses.replace(known, name={name!r})"))


def test_every_folder_is_a_source_under_its_own_name():
    assert "planhat" in sources()
    assert all(known.name == name for name, known in sources().items())
    assert source("planhat") is sources()["planhat"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("planhta", "did you mean 'planhat'"), ("Planhat", "did you mean 'planhat'"), ("zzz", "known are")],
)
def test_an_unknown_source_is_misconfigured_with_the_nearest_name(name: str, words: str):
    with pytest.raises(Misconfigured, match=words):
        source(name)


def test_adding_a_source_is_adding_a_folder(package: Callable[[dict[str, str]], ModuleType]):
    made = package({"two": renamed("two"), "one": renamed("one")})
    assert names(made) == ("one", "two")
    assert declared(made, "one").name == "one"


def test_a_folder_named_otherwise_than_its_source_is_refused(package: Callable[[dict[str, str]], ModuleType]):
    with pytest.raises(ValueError, match="some_sources/one declares a source named 'two'"):
        declared(package({"one": renamed("two")}), "one")


def test_a_folder_without_a_source_is_refused(package: Callable[[dict[str, str]], ModuleType]):
    with pytest.raises(TypeError, match="some_sources/one declares no SOURCE"):
        declared(package({"one": "SOURCE = 'planhat'"}), "one")


def test_a_source_is_imported_when_it_is_asked_for():
    code = "import sys, connectors.registry as r; r.source('planhat'); print('connectors.cpod' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "False", done.stderr


def test_a_source_loads_no_server_until_its_simulator_is_wanted():
    code = "import sys, connectors.registry as r; r.sources(); print({'uvicorn', 'starlette'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()", done.stderr
    assert len(source("planhat").simulator(seed=3, deals=2).ids()) == 2
