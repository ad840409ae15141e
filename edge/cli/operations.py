"""Operations: is it set up rightly, how is it doing, does what must hold still hold."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, ConnectionName, Json, Limit, OfConnection, Quiet, Why
from edge.cli.terminal import Terminal
from edge.exits import DONE, FINDINGS, INTEGRITY, PARKED
from edge.words import moment

app = typer.Typer()

_WIDTHS = {"CONNECTION": 20, "SOURCE": 10, "STATE": 10, "LAST SUCCESS": 24, "DEALS": 9, "PARKED": 7, "OUTBOX": 7}
_AUDIT = {"ID": 6, "AT": 23, "WHO": 12, "CONNECTION": 16, "WHAT": 22, "OUTCOME": 28, "WHY": 0}


@app.command()
def check(
    ctx: typer.Context,
    connection: Annotated[
        str | None, typer.Argument(metavar="CONNECTION", help="One only.", show_default=False)
    ] = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Try configuration, connections and ledger; write nothing."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.check import check as verb

    found: list[dict[str, Any]] = []
    codes = []
    for name, finding in verb(terminal.settings(), connection):
        found.append({"connection": name, "what": finding.what, "ok": finding.ok, "message": finding.message})
        if not finding.ok:
            codes.append(FINDINGS[finding.fault] if finding.fault else PARKED)
        if not terminal.json and not (terminal.quiet and finding.ok):
            terminal.line(f"{_mark(finding.ok)} {name}: {finding.what}: {finding.message}")
    if terminal.json:
        terminal.document({"ok": not codes, "findings": found})
    elif not found:
        terminal.note("there is no connection in the configuration yet; add [connections.NAME]")
    raise typer.Exit(codes[0] if codes else DONE)


@app.command()
def status(ctx: typer.Context, as_json: Json = False, config: Config = None, quiet: Quiet = False) -> None:
    """How every connection and the ledger are doing."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.status import status as verb

    with terminal.app() as opened:
        found = verb(opened)
    if terminal.json:
        terminal.document(found)
        return
    terminal.table(_WIDTHS, map(_row, found["connections"]))
    for one in found["connections"]:
        if one.get("reason"):
            terminal.line(f"{one['name']}: {one['reason']}")
        for lack in one["lacks"]:
            terminal.line(f"{one['name']}: {lack}")
        if one["paused"]:
            terminal.line(f"{one['name']}: {_paused(one['paused'])}")
        if one["held"]:
            terminal.line(f"{one['name']}: {one['held']:,} events are held; `dealsync held list` says why")
        terminal.line(f"{one['name']}: {_next(one['next'])}")
        if one.get("drift"):
            terminal.line(
                f"{one['name']}: its records have {one['drift']} keys that are neither mapped nor ignored; "
                f"`dealsync mapping drift {one['name']}` lists them"
            )
        if one["reconciled_at"]:
            through = one["verified_through"] or "no month"
            terminal.line(f"{one['name']}: verified through {through}, reconciled {moment(one['reconciled_at'])}")
    ledger = found["ledger"]
    last = moment(ledger.get("last_publish"))
    terminal.line(f"ledger ({ledger['kind']}): {ledger['message']}; {ledger['outbox']:,} waiting, last publish {last}")


@app.command()
def pause(
    ctx: typer.Context,
    connection: ConnectionName,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Stop reading a connection by schedule and by webhook.

    Deliveries are kept, what was decided is still published, and a run by hand is done as ever.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.pause import pause as verb

    with terminal.app() as opened:
        found = verb(opened, connection, operator(who, why))
    if terminal.json:
        terminal.document({"connection": connection, "paused": found._asdict()})
    elif not terminal.quiet:
        terminal.line(f"{connection}: {_paused(found._asdict())}; `dealsync resume {connection}` lets it go on")


@app.command()
def resume(
    ctx: typer.Context,
    connection: ConnectionName,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Let a paused connection be read again; what fell due meanwhile is done once."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.pause import resume as verb

    with terminal.app() as opened:
        was_paused = verb(opened, connection, operator(who, why))
    if terminal.json:
        terminal.document({"connection": connection, "paused": None, "was_paused": was_paused})
    elif not terminal.quiet:
        terminal.line(f"{connection}: {'goes on' if was_paused else 'was not paused'}")


@app.command()
def audit(
    ctx: typer.Context,
    connection: OfConnection = None,
    limit: Limit = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this action.")] = 0,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """What people did: who, when, and why."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.audit import list_audits

    with terminal.app() as opened:
        found = list_audits(opened, connection=connection, limit=limit, after=after)
        if terminal.json:
            terminal.stream("audit", found)
        elif not terminal.table(_AUDIT, map(_action, found)):
            terminal.note("nobody did anything yet")


@app.command()
def doctor(ctx: typer.Context, as_json: Json = False, config: Config = None, quiet: Quiet = False) -> None:
    """Check over the data itself what must always hold."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.invariants import doctor as verb

    with terminal.app() as opened:
        checks = verb(opened)
    ok = all(one.ok for one in checks)
    if terminal.json:
        shown = [{"name": one.name, "ok": one.ok, "message": one.message} for one in checks]
        terminal.document({"ok": ok, "checks": shown})
    else:
        for one in checks:
            if not (terminal.quiet and one.ok):
                terminal.line(f"{_mark(one.ok)} {one.name}: {one.message}")
    raise typer.Exit(DONE if ok else INTEGRITY)


@app.command()
def migrate(
    ctx: typer.Context,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Bring the store's tables to this version."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ask import migrate_by_hand

    done = migrate_by_hand(terminal.settings(), operator(who, why))
    if terminal.json:
        terminal.document({"done": done})
    elif not terminal.quiet:
        for line in done or ["the store is up to date"]:
            terminal.line(line)


def _paused(pause: dict[str, Any]) -> str:
    why = f": {pause['reason']}" if pause["reason"] else ""
    return f"paused by {pause['who']} since {moment(pause['since'])}{why}"


def _next(starts: dict[str, dict[str, Any]]) -> str:
    said = [f"{verb} {moment(one['at']) if one['at'] else 'waits: ' + one['why']}" for verb, one in starts.items()]
    return f"next {', '.join(said)}" if any(one["at"] for one in starts.values()) else f"next {said[0]}"


def _action(one: dict[str, Any]) -> list[object]:
    what = f"{one['action']} {one['target'] or ''}".strip()
    return [one["id"], moment(one["at"]), one["who"], one["connection"], what, one["outcome"], one["reason"]]


def _mark(ok: bool) -> str:
    return "ok  " if ok else "FAIL"


def _row(one: dict[str, Any]) -> list[object]:
    last = moment(one["last_success"])
    return [
        one["name"],
        one["source"],
        one["state"],
        last,
        f"{one['deals']:,}",
        f"{one['parked']:,}",
        f"{one['outbox']:,}",
    ]
