"""The documents: every word, test, command, variable and file that they name is there, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edge.cli.main import app
from tests.architecture.tree import FILES, ROOT, functions, name_of

SOURCES = sorted((ROOT / "connectors").glob("*/README.md"))
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *SOURCES])
DECISIONS = sorted((ROOT / "docs/decisions").iterdir())
CODE = "\n".join(file.read_text() for file in FILES)

in_every_document = pytest.mark.parametrize("document", DOCS, ids=name_of)


def rows(document: str) -> Iterator[list[str]]:
    """The rows of a document's tables, without their headings, as cells."""
    for line in (ROOT / document).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and not set(line) <= set("|- "):
            yield [cell.strip("| ") for cell in cells]


def test_every_word_of_the_glossary_is_a_word_of_the_code():
    words = [cells[0].strip("*") for cells in rows("docs/glossary.md")][1:]
    assert len(words) > 20
    spelled = {word: word.replace(" ", "[ _-]?") for word in words}
    assert [word for word, spelling in spelled.items() if not re.search(rf"(?<![a-z]){spelling}", CODE, re.I)] == []


def test_every_verb_of_the_glossary_is_a_verb_of_the_pipeline():
    said = (ROOT / "docs/glossary.md").read_text().rpartition("\nVerbs: ")[2]
    verbs = set(re.findall(r"\*\*(\w+)\*\*", said))
    assert len(verbs) > 5
    pipeline = [file for file in FILES if name_of(file).startswith("pipeline/")]
    names = {one.name.lstrip("_").split("_")[0] for file in pipeline for one in functions(file)}
    assert sorted(verbs - names - {file.stem for file in pipeline}) == []


def test_every_invariant_says_what_shows_it():
    numbered = [cells for cells in rows("docs/invariants.md") if cells[0].strip("*").isdigit()]
    assert [int(cells[0].strip("*")) for cells in numbered] == sorted({int(cells[0].strip("*")) for cells in numbered})
    for _, _, shown in numbered:
        named = re.findall(r"`([^`]+)`", shown)
        assert any(one.startswith("tests/") for one in named), shown


def test_the_doctor_asks_for_exactly_the_starred_invariants():
    starred = {cells[0].strip("*") for cells in rows("docs/invariants.md") if cells[0].endswith("*")}
    asked = set(re.findall(r'^(?:    | +name = )"(\d+) ', (ROOT / "pipeline/invariants.py").read_text(), re.M))
    assert asked == starred


@pytest.mark.parametrize("decision", DECISIONS, ids=name_of)
def test_every_decision_says_what_was_decided_and_why(decision: Path):
    number = DECISIONS.index(decision) + 1
    assert re.fullmatch(rf"{number:04}-[a-z0-9-]+\.md", decision.name)
    text = decision.read_text()
    assert text.startswith(f"# {number:04} ")
    assert "**Decision.**" in text
    assert "**Context.**" in text or "**Why.**" in text


@in_every_document
def test_every_file_and_test_that_is_named_exists(document: Path):
    text = document.read_text()
    folders = r"(?:deals|mappings|connectors|ledger|pipeline|edge|tests|deploy|docs|benchmarks)/"
    named = re.findall(rf"`({folders}[\w./-]*|\w+\.py)(?:::(\w+))?`", text)
    near = [ROOT, document.parent, ROOT / "tests" / document.parent.relative_to(ROOT)]
    for name, test in named:
        places = [folder / name for folder in near if (folder / name).exists()]
        assert places, name
        assert not test or f"def {test}(" in places[0].read_text(), test
    linked = set(re.findall(r"\]\((?!https?:|#)([^)#]+)", text))
    assert [one for one in sorted(linked) if not (document.parent / one).exists()] == []


@in_every_document
def test_every_command_that_is_named_exists(document: Path):
    text = document.read_text()
    said = re.findall(r"`(?:uv run )?dealsync ([^`\n]+)`", text)
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S))
    said += re.findall(r"\bdealsync ([a-z-][^\n;&>]*)", blocks)
    for words in map(str.split, said):
        check_command(words)


def check_command(words: list[str]) -> None:
    """Walk down the commands by their names, then look at the options."""
    words = [word for at, word in enumerate(words) if word != "--config" and (at == 0 or words[at - 1] != "--config")]
    here: Any = typer.main.get_command(app)
    for at, word in enumerate(words):
        if not hasattr(here, "commands"):
            options = {option for parameter in here.params for option in parameter.opts} | {"--help"}
            assert {word for word in words[at:] if word.startswith("-")} <= options, " ".join(words)
            return
        assert word in here.commands, " ".join(words)
        here = here.commands[word]


def test_variables_are_named_where_they_are_used_and_used_where_they_are_named():
    pattern = r"\bDEALSYNC_[A-Z][A-Z_]*[A-Z]\b"
    texts = [file.read_text() for file in [*DOCS, ROOT / "deploy/env.example"]]
    named = set(re.findall(pattern, "\n".join(texts)))
    assert named == set(re.findall(pattern, CODE))


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {name for file in DOCS for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", file.read_text())}
    assert named <= targets


def test_the_checks_can_fail():
    with pytest.raises(AssertionError):
        check_command(["pull", "planhat", "--no-such-option"])
    with pytest.raises(AssertionError):
        check_command(["sync"])
    check_command(["--config", "x.toml", "mapping", "lint", "NAME"])
