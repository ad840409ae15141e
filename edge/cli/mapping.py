"""Mapping: check, show, preview and suggest the table that reads a connection's records, and what it leaves unread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import Config, ConnectionName, Json, Limit, Quiet
from edge.cli.terminal import Terminal
from edge.exits import CONFIGURATION, DONE, USAGE, Failed
from edge.words import moment, shown, sums

if TYPE_CHECKING:
    from pipeline.mapping_preview import Preview

group = typer.Typer(no_args_is_help=True, help="The tables between a CRM's words and ours.")

_WIDTHS = {"KIND": 14, "FIELD": 26, "FROM": 28, "RULE": 40, "NOTE": 0}
_DRIFT = {"KEY": 40, "RECORDS": 10, "FIRST SEEN": 23, "LAST SEEN": 23}
_EXAMPLES = {"DEAL": 34, "FIELD": 22, "BEFORE": 24, "AFTER": 0}


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


@group.command()
def drift(
    ctx: typer.Context,
    connection: ConnectionName,
    limit: Limit = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """The keys of the records that the table neither claims nor ignores, the most frequent first."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.mapping_tools import drift as verb

    with terminal.app() as opened:
        found = verb(opened, connection, limit=limit)
    if terminal.json:
        terminal.document({"connection": connection, "drift": found})
        return
    rows = ([one["key"], f"{one['records']:,}", moment(one["first_seen"]), moment(one["last_seen"])] for one in found)
    if terminal.table(_DRIFT, rows):
        terminal.note(
            "claim each in the mapping, or ignore it there with a reason; `dealsync mapping preview` tries a table"
        )
    else:
        terminal.note(f"every key of the records of {connection} is mapped or ignored")


@group.command()
def preview(
    ctx: typer.Context,
    connection: ConnectionName,
    table: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A table to try; the connection's own without.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Show at most so many deals.")] = 20,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """What a table would change of what was read so far; nothing is asked of the CRM, and nothing is stored."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.mapping_preview import preview as verb

    with terminal.app() as opened:
        found = verb(opened, connection, table, examples=limit)
        currency = opened.settings.ledger.currency
    if terminal.json:
        terminal.document(found.as_json())
        return
    _tell(terminal, found, currency)
    if not found.deals + found.parked:
        terminal.note(f"nothing of {connection} is kept yet: `dealsync mapping suggest {connection}` looks at the CRM")


def _tell(terminal: Terminal, found: Preview, currency: str) -> None:
    """The preview for a person: how many, which fields, which stages, how much money, why not, and examples."""
    terminal.line(
        f"{found.connection}: {found.deals:,} deals = {found.unchanged:,} unchanged + {found.changed:,} changed + "
        f"{found.unreadable:,} to be parked; {found.resolved:,} of {found.parked:,} parked records could be read"
    )
    for name, deals in found.fields.most_common():
        terminal.line(f"  {name.ljust(22)} {deals:,} deals")
    for (before, after), deals in found.stages.most_common():
        terminal.line(f"  stage {shown(before or None)} -> {shown(after or None)}: {deals:,} deals")
    if moved := sums({code: cents for code, cents in sorted(found.money.items()) if cents}, currency, signed=True):
        terminal.line(f"  money {moved}")
    for (reason, name), records in found.reasons.most_common():
        terminal.line(f"  parked for {reason} at {name}: {records:,} records")
    terminal.table(
        _EXAMPLES,
        (
            [one["external_id"], name, shown(values["before"]), shown(values["after"])]
            for one in found.examples
            for name, values in one["fields"].items()
        ),
    )
