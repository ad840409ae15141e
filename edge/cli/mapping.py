"""Mapping: check, show and suggest the table that reads a connection's records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.exits import CONFIGURATION, DONE, USAGE, Failed
from edge.cli.options import Config, ConnectionName, Json, Quiet
from edge.cli.terminal import Terminal

group = typer.Typer(no_args_is_help=True, help="The tables between a CRM's words and ours.")

_WIDTHS = {"KIND": 14, "FIELD": 26, "FROM": 28, "RULE": 40, "NOTE": 0}


@group.command()
def lint(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONNECTION|FILE", help="A connection, or a table's file.")],
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Check a table and say everything that is wrong with it."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.mapping_tools import lint as verb

    if Path(name).is_file():
        problems = verb(None, name)
    else:
        settings = terminal.settings()
        settings.connection(name)
        problems = verb(settings, name)
    if terminal.json:
        terminal.document({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            terminal.complain(problem)
        if not problems and not terminal.quiet:
            terminal.line(f"{name}: the table is sound")
    raise typer.Exit(CONFIGURATION if problems else DONE)


@group.command()
def suggest(
    ctx: typer.Context,
    connection: ConnectionName,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", min=1, max=1_000_000, help="How many deals to look at.")
    ] = 2000,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write to this new file instead of stdout.", show_default=False),
    ] = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Look at the account's own deals and write a commented table for them."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.mapping_tools import suggest as verb

    with terminal.app() as opened:
        text = verb(opened, connection, sample=sample)
    if output is not None:
        try:
            with output.open("x", encoding="utf-8") as opened_file:
                opened_file.write(text)
        except OSError as error:
            raise Failed(f"{output} cannot be written: {error.strerror}", USAGE) from None
        terminal.note(f"wrote {output}; name it as mapping of [connections.{connection}]")
    if terminal.json:
        terminal.document({"connection": connection, "toml": text})
    elif output is None:
        terminal.text(text)


@group.command()
def show(
    ctx: typer.Context, connection: ConnectionName, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """The table a connection uses, rule by rule."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.mapping_tools import describe

    rows = describe(terminal.settings(), connection)
    if terminal.json:
        keys = ("kind", "field", "from", "rule", "note")
        cells = ((row.kind, row.field, row.source, row.rule, row.note) for row in rows)
        terminal.stream("rules", (dict(zip(keys, cell, strict=True)) for cell in cells))
    else:
        terminal.table(_WIDTHS, ([row.kind, row.field, row.source, row.rule, row.note] for row in rows))
