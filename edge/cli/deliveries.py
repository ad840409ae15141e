"""Deliveries: look at what came by webhook and was not simply heeded."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from edge.cli.options import Config, Json, Limit, Quiet
from edge.cli.terminal import Terminal
from edge.words import moment

group = typer.Typer(no_args_is_help=True, help="Deliveries that wait, or that nobody can do anything with.")

_WIDTHS = {"ID": 32, "CONNECTION": 16, "RECEIVED": 23, "STATE": 10, "EVENT OR WHY": 0}
_State = StrEnum("_State", ["waiting", "unknown", "unreadable"])


@group.command("list")
def list_(
    ctx: typer.Context,
    connection: Annotated[
        str | None, typer.Argument(metavar="CONNECTION", help="Of this connection only.", show_default=False)
    ] = None,
    state: Annotated[_State | None, typer.Option("--state", help="In this state only.", show_default=False)] = None,
    limit: Limit = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Begin behind this delivery.", show_default=False)
    ] = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Deliveries that wait, that tell of an unknown event, or that cannot be read."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.deliveries import list_deliveries

    chosen = None if state is None else state.value
    with terminal.app() as opened:
        found = list_deliveries(opened, connection=connection, state=chosen, limit=limit, after=after)
        if terminal.json:
            terminal.stream("deliveries", found)
        elif not terminal.table(_WIDTHS, map(_row, found)):
            terminal.note("every delivery was heeded")


def _row(one: dict[str, Any]) -> list[object]:
    said = one["event"] or one["why"]
    return [one["id"], one["connection"], moment(one["received_at"]), one["state"], said]
