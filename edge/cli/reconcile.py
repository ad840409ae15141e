"""Reconcile: the command that compares source and ledger, and how its findings are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, ConnectionName, GiveUpAfter, Json, Quiet, Why
from edge.cli.terminal import PATIENCE, Terminal
from edge.exits import DONE, INTEGRITY, PARKED
from edge.words import money, seconds, sums

if TYPE_CHECKING:
    from pipeline.reconcile import Reconciliation

app = typer.Typer()

SHOWN = 20
"""So many differences are printed for a person; `--json` prints them all."""

_WINDOWS = {"MONTH": 8, "SOURCE": 26, "PROJECTION": 26, "LEDGER": 26, "PENDING": 7, "": 4}
_DEALS = {"DEAL": 36, "LEDGER IS": 9, "AT THE SOURCE": 20, "IN THE LEDGER": 20, "TOO MUCH": 18, "FIELDS": 20}


@app.command()
def reconcile(
    ctx: typer.Context,
    connection: ConnectionName,
    repair: Annotated[bool, typer.Option("--repair", help="Make events that set right what differs.")] = False,
    give_up_after: GiveUpAfter = PATIENCE,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Compare the source with the ledger, deal by deal.

    Reads the source completely and writes nothing, unless it is told to repair: `dealsync publish` then sends what
    sets the ledger right. Ends with 8 when anything differs.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.reconcile import reconcile as verb

    with terminal.app(give_up_after) as opened:
        currency = opened.settings.ledger.currency
        with terminal.progress(f"reconcile {connection}") as progress:
            found = verb(opened, connection, repair=repair, operator=operator(who, why), progress=progress)
    if terminal.json:
        terminal.document(found.as_json())
    else:
        _tell(terminal, found, currency)
    for note in (*found.summary.notes, *(f"this read is no witness of absence: {one}" for one in found.summary.doubts)):
        terminal.note(note)
    raise typer.Exit(INTEGRITY if found.differences else DONE if found.summary.clean else PARKED)


def tell_differences(terminal: Terminal, differences: list[dict[str, Any]], currency: str) -> None:
    """Print the deals that differ, the first of them at least."""
    terminal.table(_DEALS, (_deal(one, currency) for one in differences[:SHOWN]))
    if len(differences) > SHOWN:
        terminal.note(f"{len(differences) - SHOWN:,} more: `--json` prints them all")


def _tell(terminal: Terminal, found: Reconciliation, currency: str) -> None:
    document = found.as_json()
    unlike = [window for window in document["windows"] if not window["ok"] or window["pending"]]
    if not terminal.quiet:
        terminal.table(_WINDOWS, (_window(window, currency) for window in unlike))
    tell_differences(terminal, document["differences"], currency)
    pending = ", ".join(f"{number:,} {why}" for why, number in document["pending"].items())
    terminal.line(
        f"reconcile {found.summary.connection} (run {found.summary.run}): {len(found.windows)} months, "
        f"{len(found.differences):,} deals differ, {money(found.delta_cents, currency)} too much in the ledger"
        f"{f'; not compared: {pending}' if pending else ''}; verified through "
        f"{found.verified_through or 'no month yet'}; {seconds(found.summary)}"
    )


def _window(window: dict[str, Any], currency: str) -> list[object]:
    mark = "ok" if window["ok"] else "FAIL"
    sides = (_tally(window[side], currency) for side in ("source", "projection", "ledger"))
    return [window["month"], *sides, window["pending"], mark]


def _tally(side: dict[str, Any], currency: str) -> str:
    return f"{side['count']:,}: {sums(side['sums'], currency) or money(0, currency)}"


def _deal(one: dict[str, Any], currency: str) -> list[object]:
    amounts = (one[f"{side}_amount_cents"] for side in ("source", "ledger"))
    shown = [money(cents, currency) for cents in (*amounts, one["delta_cents"])]
    kind = one["kind"] if one["where"] != "projection" else "right"
    return [one["external_id"], kind, *shown, ", ".join(one["fields"])]
