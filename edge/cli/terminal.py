"""Terminal: where a command's words go: results on stdout, all else on stderr, nothing that could harm either."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from edge.exits import DONE, PARKED, UNAVAILABLE, UNREAD, USAGE, Failed

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.summary import Progress, Summary
    from pipeline.wiring import App


PATIENCE = "30s"
"""How long a command run by hand tries a dead other side."""


class Terminal:
    """One run of the command line.

    `answered` says that stdout has got its document, or part of it; `logging` that logs go where they should.
    """

    def __init__(self) -> None:
        self.config: Path | None = None
        self.json = False
        self.quiet = False
        self.answered = False
        self.logging = False

    @classmethod
    def of(cls, ctx: typer.Context, as_json: bool, config: Path | None, quiet: bool, level: str = "error") -> Terminal:
        """The terminal of this run, as the command's options want it. `level` is what its logs begin at."""
        found = ctx.find_object(cls)
        assert found is not None
        found.config = config or found.config
        found.json, found.quiet = as_json, quiet
        found.configure_logs(level)
        return found

    def configure_logs(self, level: str) -> None:
        """Logs to stderr: for a person on a terminal, JSON otherwise; two variables decide otherwise."""
        from pipeline.observe import configure, log_uncaught

        on_terminal = sys.stderr.isatty()
        wanted = os.environ.get("DEALSYNC_LOG_FORMAT", "").strip().lower() or ("console" if on_terminal else "json")
        level = os.environ.get("DEALSYNC_LOG_LEVEL", "").strip().lower() or level
        try:
            configure("console" if wanted == "console" else "json", level)
            if wanted not in ("console", "json"):
                self.complain("DEALSYNC_LOG_FORMAT is neither json nor console; json is used")
        except ValueError as error:
            configure("json", "error")
            self.complain(f"DEALSYNC_LOG_LEVEL: {error}; error is used")
        log_uncaught()
        self.logging = True

    def settings(self) -> Settings:
        """The configuration. Raises `SettingsError`."""
        from pipeline.settings import load

        return load(self.config, os.environ)

    @contextmanager
    def app(self, give_up_after: str = PATIENCE) -> Iterator[App]:
        """The store and the ledger of the configuration, opened. A dead other side is tried again for so long."""
        from connectors.times import duration
        from pipeline.wiring import open_app

        try:
            patience_s = duration(give_up_after).total_seconds()
        except ValueError as error:
            raise Failed(f"--give-up-after: {error}", USAGE) from None
        with open_app(self.settings(), give_up_after_s=patience_s) as app:
            yield app

    def document(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON document."""
        self._write(sys.stdout, _encoded(value, indent=2))
        self.answered = True

    def stream(self, key: str, items: Iterable[Mapping[str, Any]], *, of: Mapping[str, Any] | None = None) -> None:
        """Print `{key: [items]}` while the items come, without ever holding the list in memory; what the items are `of`
        has its fields before them."""
        fields = f"{_encoded(of)[:-1]}, " if of else "{"
        lead = f'{fields}"{key}": ['
        for item in items:
            self._write(sys.stdout, f"{lead}\n{_encoded(item)}", end="")
            self.answered = True
            lead = ","
        self._write(sys.stdout, "\n]}" if self.answered else f"{lead}]}}")
        self.answered = True

    def line(self, text: str = "") -> None:
        """Print a line for a person."""
        from pipeline.redaction import escaped

        self._write(sys.stdout, escaped(text))

    def text(self, text: str) -> None:
        """Print a text that is meant for a file, as it is."""
        self._write(sys.stdout, text, end="")

    def table(self, widths: Mapping[str, int], rows: Iterable[Sequence[object]]) -> int:
        """Print rows under their headings as they come, each cell at least so wide; returns how many there were."""
        count = 0
        for count, row in enumerate(rows, start=1):
            if count == 1:
                self.line(_row(list(widths), widths.values()))
            self.line(_row(["-" if cell is None else str(cell) for cell in row], widths.values()))
        return count

    def fields(self, one: Mapping[str, object], *, whole: Collection[str] = ()) -> None:
        """Print one thing, a field a line; long values are cut, but for those of the fields named in `whole`."""
        from edge.words import shown

        for name, value in one.items():
            self.line(f"{name.ljust(16)} {'-' if value is None else value if name in whole else shown(value)}")

    def note(self, text: str) -> None:
        """Tell the person something that is no result."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """Tell the person what is wrong."""
        from pipeline.redaction import escaped, scrub

        try:
            self._write(sys.stderr, f"dealsync: {escaped(scrub(text))}")
        except typer.Exit:
            return

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """Counts that move while a verb works, on a terminal only."""
        from pipeline.summary import silent

        if self.quiet or not sys.stderr.isatty():
            yield silent
            return
        from edge.cli.progress import moving

        with moving(title) as tell:
            yield tell

    def end(self, summary: Summary, line: str) -> None:
        """Print the summary a run ends with, and end the command by what the run met."""
        self.summary(summary, line)
        raise typer.Exit(DONE if summary.clean else PARKED)

    def summary(self, summary: Summary, line: str) -> None:
        """Print a run's summary: the document, or `line` with the run's notes, and what it lacked and doubted."""
        if self.json:
            self.document(summary.as_json())
        elif not self.quiet:
            self.line(line)
        doubts = (f"this read is no witness of absence: {doubt}" for doubt in summary.doubts)
        for note in (*summary.notes, *summary.lacks, *doubts):
            self.note(note)

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding) + end)
            if end:
                stream.flush()
        except OSError as error:
            leave(stream)
            if isinstance(error, BrokenPipeError) or stream is sys.stderr:
                raise typer.Exit(UNREAD) from None
            raise Failed(f"stdout cannot be written: {error.strerror}", UNAVAILABLE) from None


def open_nowhere() -> TextIO:
    """A stream for one that was closed before we began."""
    return Path(os.devnull).open("w", encoding="utf-8")


def leave(stream: TextIO) -> None:
    """This stream takes no more: what is left in its buffer goes nowhere, without a complaint at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _row(cells: Sequence[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _encoded(value: Mapping[str, Any], indent: int = 0) -> str:
    from edge.encoding import encoded

    return encoded(value, indent).decode()
