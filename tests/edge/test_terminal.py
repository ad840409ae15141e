"""Stdout and stderr: lists stream, documents stay whole or visibly broken, progress is for terminals only."""

from __future__ import annotations

import io
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from connectors.faults import Unavailable
from edge.cli import main
from edge.cli.terminal import Terminal
from pipeline.summary import Summary
from tests.edge.conftest import Cli


class OnTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def items(count: int, then: Exception | None = None) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"number": number, "text": "x" * 500}
    if then is not None:
        raise then


@pytest.fixture
def listing() -> Iterator[None]:
    """A command whose source fails after so many items."""

    @main.app.command("listing")
    def listing_(ctx: typer.Context, count: int) -> None:
        Terminal.of(ctx, True, None, False).stream("items", items(count, Unavailable("gone")))

    yield
    main.app.registered_commands.pop()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_streamed_list_is_one_document(count: int, capsys: pytest.CaptureFixture[str]):
    Terminal().stream("items", items(count))
    written = capsys.readouterr().out
    assert len(json.loads(written)["items"]) == count
    assert written.endswith("]}\n")


def test_a_long_list_is_never_held_in_memory(monkeypatch: pytest.MonkeyPatch):
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        tracemalloc.start()
        Terminal().stream("items", items(20_000))
        Terminal().table({"A": 4}, ([one["number"]] for one in items(20_000)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_list_cut_short_by_a_fault_cannot_be_taken_for_a_whole_one(cli: Cli, listing: None):
    ended = cli("listing", 3)
    assert ended.code == 6
    assert ended.err == "dealsync: gone\n"
    with pytest.raises(json.JSONDecodeError):
        json.loads(ended.out)


def test_a_fault_before_the_first_item_is_the_document(cli: Cli, listing: None):
    assert cli("listing", 0).document == {"error": {"code": 6, "messages": ["gone"]}}


def test_what_a_person_reads_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]):
    terminal = Terminal()
    terminal.line("a\x1b[2J\rb")
    terminal.table({"A": 1, "B": 1}, [["\x1b]0;x\x07", None]])
    terminal.complain("c\nd\u202e")
    written = capsys.readouterr()
    assert written.out.splitlines() == ["a\\x1b[2J\\rb", "A  B", "\\x1b]0;x\\x07  -"]
    assert written.err == "dealsync: c\\nd\\u202e\n"


def test_progress_moves_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch):
    summary = Summary(run=1, connection="a", read=1200, unchanged=1200, seconds=2.0)
    screen, file = OnTerminal(), io.StringIO()
    for stream in (screen, file):
        monkeypatch.setattr(sys, "stderr", stream)
        with Terminal().progress("pull a") as tell:
            tell(summary)
    quiet = Terminal()
    quiet.quiet = True
    monkeypatch.setattr(sys, "stderr", hushed := OnTerminal())
    with quiet.progress("pull a") as tell:
        tell(summary)
    assert "pull a: 1,200 read = 1,200 unchanged, 600/s" in screen.getvalue()
    assert file.getvalue() == hushed.getvalue() == ""


def test_notes_are_left_out_when_quiet_and_faults_are_not(capsys: pytest.CaptureFixture[str]):
    terminal = Terminal()
    terminal.quiet = True
    terminal.note("by the way")
    terminal.complain("broken")
    assert capsys.readouterr().err == "dealsync: broken\n"


def test_a_summary_with_notes_and_doubts_tells_them(capsys: pytest.CaptureFixture[str]):
    terminal = Terminal()
    summary = Summary(run=1, connection="a", doubts=["a short list"], notes=["took the long way"])
    with pytest.raises(typer.Exit) as ended:
        terminal.end(summary, "the line")
    written = capsys.readouterr()
    assert ended.value.exit_code == 5
    assert written.out == "the line\n"
    assert written.err.splitlines() == [
        "dealsync: took the long way",
        "dealsync: this read is no witness of absence: a short list",
    ]
