"""Main: the command line `dealsync`, from its arguments to its exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli import (
    backfill,
    checkpoint,
    deals,
    deliveries,
    demo,
    held,
    incidents,
    ledger,
    mapping,
    operations,
    parked,
    reconcile,
    recover,
    runs,
    sandbox,
    serve,
    setup,
    up,
)
from edge.cli.terminal import Terminal, leave, open_nowhere
from edge.exits import BUG, INTERRUPTED, UNREAD, USAGE, code_of, told

if TYPE_CHECKING:
    from pipeline.summary import Summary

app = typer.Typer(
    name="dealsync",
    help="CRM deals in, commission-ledger events out, exactly once in effect, with a reason for every cent.",
    epilog="DEALSYNC_LOG_LEVEL (debug to critical) and DEALSYNC_LOG_FORMAT (json, console) decide what stderr logs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"dealsync {version('dealsync')}\n")
        raise typer.Exit


@app.callback()
def _before_the_command(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The configuration.", show_default=False)
    ] = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    terminal = ctx.find_object(Terminal)
    assert terminal is not None
    terminal.config = config


app.add_typer(demo.app)
app.add_typer(setup.app)
app.add_typer(operations.app)
app.add_typer(runs.app)
app.add_typer(backfill.group, name="backfill")
app.add_typer(reconcile.app)
app.add_typer(recover.app)
app.add_typer(deals.group, name="deals")
app.add_typer(deals.app)
app.add_typer(parked.group, name="parked")
app.add_typer(deliveries.group, name="deliveries")
app.add_typer(checkpoint.group, name="checkpoint")
app.add_typer(held.group, name="held")
app.add_typer(incidents.group, name="incidents")
app.add_typer(mapping.group, name="mapping")
app.add_typer(ledger.group, name="ledger")
app.add_typer(serve.app)
app.add_typer(up.app)
app.add_typer(sandbox.app)


def main() -> None:
    """The console script."""
    # A quarter of a short command's time went into three things that no command needs.
    gc.set_threshold(100_000, 20, 20)  # imports make objects by the hundred thousand, and all of them stay
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else every installed package is asked for plugins
    code = run(sys.argv[1:])
    gc.freeze()  # else the interpreter, ending, looks for cycles in all there is
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; whatever happens is told in a line, never in a traceback."""
    sys.stdout = sys.stdout or open_nowhere()
    sys.stderr = sys.stderr or open_nowhere()
    terminal = Terminal()
    code = _run(arguments, terminal)
    try:
        sys.stdout.flush()
    except OSError:
        leave(sys.stdout)
        return code or UNREAD
    return code


def _run(arguments: Sequence[str], terminal: Terminal) -> int:
    try:
        typer.main.get_command(app).main(args=list(arguments), prog_name="dealsync", obj=terminal)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else BUG if ended.code else 0
        if code == USAGE and "--json" in arguments:  # told on stderr, before the command itself could begin
            wrong = getattr(ended.__context__, "format_message", str)()
            _document_of(terminal, code, [wrong or "the command line cannot be read: stderr says why"])
        if code == INTERRUPTED:
            terminal.complain("interrupted; what was committed stays, run it again to go on")
        return code
    except KeyboardInterrupt:
        terminal.complain("interrupted; what was committed stays, run it again to go on")
        return INTERRUPTED
    except Exception as error:
        return _failed(error, terminal)
    return 0


def _failed(error: Exception, terminal: Terminal) -> int:
    code = code_of(error)
    if code is None:
        if not terminal.logging:
            terminal.configure_logs("error")
        from edge.telling import reported

        lines, code = [reported(error)], BUG
    else:
        lines = told(error)
    for line in lines:
        terminal.complain(line)
    if terminal.json:
        _document_of(terminal, code, lines, getattr(error, "summary", None))
    return code


def _document_of(terminal: Terminal, code: int, lines: Sequence[str], summary: Summary | None = None) -> None:
    """Stdout gets its one document also where there is nothing to tell but the fault."""
    if not terminal.answered:
        with contextlib.suppress(typer.Exit):
            terminal.document(summary.as_json() if summary else {"error": {"code": code, "messages": lines}})
