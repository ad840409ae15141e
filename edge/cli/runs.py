"""Runs: the commands that read a source or write to the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, ConnectionName, GiveUpAfter, Json, NoWait, Quiet, Why
from edge.cli.terminal import PATIENCE, Terminal
from edge.words import publish_line, summary_line

if TYPE_CHECKING:
    from pipeline.summary import Summary
    from pipeline.wiring import App

app = typer.Typer()


@app.command()
def pull(
    ctx: typer.Context,
    connection: ConnectionName,
    give_up_after: GiveUpAfter = PATIENCE,
    no_wait: NoWait = False,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Read what changed since the checkpoint.

    The first time that is everything. Nothing is published.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ask import by_hand
    from pipeline.pull import pull as verb

    with terminal.app(give_up_after) as opened:
        by_hand(opened, "pull", connection, operator(who, why))
        _read(terminal, opened, verb, connection, no_wait)


@app.command()
def sweep(
    ctx: typer.Context,
    connection: ConnectionName,
    give_up_after: GiveUpAfter = PATIENCE,
    no_wait: NoWait = False,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Read everything: the only witness that a deal is gone."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ask import by_hand
    from pipeline.sweep import sweep as verb

    with terminal.app(give_up_after) as opened:
        by_hand(opened, "sweep", connection, operator(who, why))
        _read(terminal, opened, verb, connection, no_wait)


@app.command()
def fetch(
    ctx: typer.Context,
    connection: ConnectionName,
    source_id: Annotated[str, typer.Argument(metavar="ID", help="The deal's id at the source.")],
    give_up_after: GiveUpAfter = PATIENCE,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Read one deal by its id at the source."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ask import by_hand
    from pipeline.fetch import fetch as verb

    with terminal.app(give_up_after) as opened:
        by_hand(opened, "fetch", connection, operator(who, why), target=source_id)
        summary = verb(opened, connection, source_id)
    terminal.end(summary, summary_line(f"fetch {connection}:{source_id}", summary))


@app.command()
def publish(
    ctx: typer.Context,
    give_up_after: GiveUpAfter = PATIENCE,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Send all that can be sent now to the ledger, then end."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ask import by_hand
    from pipeline.publish import publish as verb

    with terminal.app(give_up_after) as opened, terminal.progress("publish") as progress:
        by_hand(opened, "publish", None, operator(who, why))
        summary = verb(opened, progress=progress)
    terminal.end(summary, publish_line(summary))


def _read(terminal: Terminal, app: App, verb: Callable[..., Summary], connection: str, no_wait: bool) -> None:
    """Read a connection; where there is a broker, by ringing for a worker that does it."""
    from pipeline.ringing import has_workers

    title = f"{verb.__name__} {connection}"
    with terminal.progress(title) as progress:
        if not (no_wait or has_workers(app)):
            summary: Summary | None = verb(app, connection, progress=progress)
        else:
            from pipeline.handover import hand_over

            summary = hand_over(app, verb.__name__, connection, wait=not no_wait, progress=progress)
    _end(terminal, title, summary)


def _end(terminal: Terminal, title: str, summary: Summary | None) -> None:
    if summary is not None:
        terminal.end(summary, summary_line(title, summary))
    terminal.note(f"{title}: left to the workers; `dealsync status` shows what became of it")
    if terminal.json:
        terminal.document({"rung": title})
