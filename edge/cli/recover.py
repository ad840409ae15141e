"""Recover: the command that rebuilds a lost or older store from the ledger and the source."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, ConnectionName, GiveUpAfter, Json, Quiet, Why
from edge.cli.reconcile import tell_differences
from edge.cli.terminal import PATIENCE, Terminal
from edge.exits import DONE, PARKED
from edge.words import events, money, seconds

app = typer.Typer()


@app.command()
def recover(
    ctx: typer.Context,
    connection: ConnectionName,
    send: Annotated[
        bool, typer.Option("--send/--dry-run", help="Rebuild the store, and put what differs in the outbox.")
    ] = False,
    give_up_after: GiveUpAfter = PATIENCE,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Rebuild a lost or older store from the ledger.

    Shows what the ledger would be told, and stops there unless --send is given. A deal that is in the ledger as the
    source has it is told nothing.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.recover import recover as verb

    with terminal.app(give_up_after) as opened:
        currency = opened.settings.ledger.currency
        with terminal.progress(f"recover {connection}") as progress:
            found = verb(opened, connection, send=send, operator=operator(who, why), progress=progress)
    if terminal.json:
        terminal.document(found.as_json())
    else:
        document = found.as_json()
        tell_differences(terminal, document["differences"], currency)
        done = f"{found.adopted:,} adopted, {found.withdrawn:,} taken back, {events(found.summary)} in the outbox"
        terminal.line(
            f"recover {connection} (run {found.summary.run}): {found.held:,} deals in the ledger, "
            f"{len(found.differences):,} differ, {money(found.delta_cents, currency)} too much there; "
            f"{done if send else 'nothing was changed'}; {seconds(found.summary)}"
        )
    for note in found.summary.notes:
        terminal.note(note)
    if not send:
        terminal.note("this was a look only: `--send` rebuilds the store, then `dealsync publish` sends what differs")
    raise typer.Exit(DONE if found.summary.clean else PARKED)
