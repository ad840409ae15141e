"""Backfill: read a range of a source's deals again, looked at before, watched meanwhile, stopped at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, ConnectionName, GiveUpAfter, Json, Limit, NoWait, OfConnection, Quiet, Why
from edge.cli.terminal import PATIENCE, Terminal
from edge.exits import DONE, PARKED, USAGE, Failed
from edge.words import counted, expectation, left, summary_line

if TYPE_CHECKING:
    from pipeline.backfill_report import Outcome, Standing, Watch

group = typer.Typer(
    no_args_is_help=True,
    help="Read deals of a range of creation times again, beside the live traffic.",
)

Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="A backfill by its id.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", show_default=False,
        help="Deals created from then on: a day (2026-01-31, midnight UTC), or a time with its zone.",
    ),
]  # fmt: skip
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", show_default=False, help="Deals created before then."),
]

_WIDTHS = {"ID": 6, "CONNECTION": 16, "STATE": 10, "CHUNKS": 22, "DONE": 5, "RECORDS": 11, "RATE": 9, "LEFT": 10}
_PLAN = {"CHUNK": 6, "STATE": 8, "RECORDS": 9, "EXPECTED": 40, "PART": 40}


@group.command()
def start(
    ctx: typer.Context,
    connection: ConnectionName,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan it and say what it will do; `backfill resume` then does it.")
    ] = False,
    give_up_after: GiveUpAfter = PATIENCE,
    no_wait: NoWait = False,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Plan a backfill and carry it out."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    window = (_moment("--since", since), _moment("--until", until))
    title = f"backfill {connection}"
    from pipeline.backfill import start as verb
    from pipeline.backfill_preview import preview

    with terminal.app(give_up_after) as opened, _watching(terminal, title) as watch:
        if dry_run:
            outcome = preview(opened, connection, window, watch=watch, operator=operator(who, why))
        else:
            outcome = verb(opened, connection, window, wait=not no_wait, watch=watch, operator=operator(who, why))
        currency = opened.settings.ledger.currency
    if dry_run:
        _expectation(terminal, outcome, currency)
    _end(terminal, title, outcome)


@group.command()
def resume(
    ctx: typer.Context,
    number: Number,
    give_up_after: GiveUpAfter = PATIENCE,
    no_wait: NoWait = False,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Carry out what is left: of a plan, or after a pause or a death."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.backfill import resume as verb

    _carry_on(terminal, partial(verb, operator=operator(who, why)), number, give_up_after, no_wait)


@group.command()
def retry(
    ctx: typer.Context,
    number: Number,
    give_up_after: GiveUpAfter = PATIENCE,
    no_wait: NoWait = False,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Carry out the chunks that failed or are missing, and no others."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.backfill import retry as verb

    _carry_on(terminal, partial(verb, operator=operator(who, why)), number, give_up_after, no_wait)


@group.command()
def pause(
    ctx: typer.Context,
    number: Number,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Let nothing more land until it is resumed."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.backfill import pause as verb

    with terminal.app() as opened:
        _show(terminal, [verb(opened, number, operator=operator(who, why))])


@group.command()
def cancel(
    ctx: typer.Context,
    number: Number,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Let nothing more land, and free its range."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.backfill import cancel as verb

    with terminal.app() as opened:
        _show(terminal, [verb(opened, number, operator=operator(who, why))])


@group.command("list")
def list_(
    ctx: typer.Context,
    connection: OfConnection = None,
    limit: Limit = None,
    after: Annotated[int, typer.Option("--after", metavar="ID", min=0, help="Those that come after this id.")] = 0,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Every backfill: its state, its chunks, its rate, the time that is left."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.backfill_report import listed

    with terminal.app() as opened:
        _show(terminal, listed(opened, connection, after=after, limit=limit))


@group.command()
def show(
    ctx: typer.Context, number: Number, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """One backfill with each of its chunks."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.backfill_report import standing

    with terminal.app() as opened:
        found = standing(opened, number)
        currency = opened.settings.ledger.currency
    if terminal.json:
        terminal.document({"backfills": [{**found.as_json(), "plan": found.plan_as_json()}]})
        return
    _show(terminal, [found])
    if found.reason:
        terminal.line(f"{found.state}: {found.reason}")
    terminal.table(_PLAN, (_part(one, currency) for one in found.plan_as_json()))
    for one in found.plan_as_json():
        if one["reason"]:
            terminal.line(f"chunk {one['number']}: {one['reason']}")


def _carry_on(terminal: Terminal, verb: Callable[..., Outcome], number: int, give_up_after: str, no_wait: bool) -> None:
    title = f"backfill {number}"
    with terminal.app(give_up_after) as opened, _watching(terminal, title) as watch:
        outcome = verb(opened, number, wait=not no_wait, watch=watch)
    _end(terminal, title, outcome)


def _end(terminal: Terminal, title: str, outcome: Outcome) -> None:
    """The summary, what is left to do, and the exit code."""
    summary, stands = outcome
    line = summary_line(title, summary)
    if terminal.json and stands.expected is not None and stands.state == "planned":
        terminal.document({**summary.as_json(), "expected": stands.expected})
    elif stands.state != "planned":
        terminal.summary(summary, line)
    left = f"{stands.pending} of its {stands.total} chunks are left"
    advice = {
        "planned": f"this is the plan of backfill {stands.id}; `dealsync backfill resume {stands.id}` carries it out",
        "running": f"backfill {stands.id} goes on; `dealsync backfill show {stands.id}` says how far it is",
        "paused": f"backfill {stands.id} was paused; {left}, `dealsync backfill resume {stands.id}` goes on",
        "cancelled": f"backfill {stands.id} was cancelled; {left}",
        "failed": f"{stands.failed} of its {stands.total} chunks failed and {stands.pending} are left; "
        f"`dealsync backfill show {stands.id}` says why, `dealsync backfill retry {stands.id}` reads them",
    }
    if stands.state in advice:
        terminal.note(advice[stands.state])
    unread = (stands.expected or {}).get("unreadable_chunks", 0) if stands.state == "planned" else 0
    raise typer.Exit(DONE if outcome.clean and not unread else PARKED)


def _expectation(terminal: Terminal, outcome: Outcome, currency: str) -> None:
    if terminal.json or terminal.quiet:
        return
    stands = outcome.standing
    chunks, told = counted(stands.total, "chunk"), expectation(stands.expected if stands.total else {}, currency)
    terminal.line(f"backfill {stands.id} of {stands.connection} would read {chunks}: {told}")
    for one in stands.plan_as_json():
        terminal.line(f"{one['number']:>5}  {one['part']}: {expectation(one['expected'], currency)}")


def _show(terminal: Terminal, found: list[Standing]) -> None:
    if terminal.json:
        terminal.document({"backfills": [one.as_json() for one in found]})
    elif not terminal.table(_WIDTHS, map(_row, found)):
        terminal.note("there are no backfills")


def _row(one: Standing) -> list[object]:
    chunks = f"{one.done} of {one.total}{f', {one.failed} failed' if one.failed else ''}"
    rate = None if one.rate is None else f"{one.rate:,.0f}/s"
    return [
        one.id,
        one.connection,
        one.state,
        chunks,
        f"{one.percent}%",
        f"{one.records:,}",
        rate,
        left(one.eta_seconds),
    ]


def _part(one: dict[str, Any], currency: str) -> list[object]:
    expected = None if one["expected"] is None else expectation(one["expected"], currency)
    return [one["number"], one["state"], f"{one['records']:,}", expected, one["part"]]


def _words(one: Standing) -> str:
    rate = "" if one.rate is None else f", {one.rate:,.0f}/s"
    until = "" if one.eta_seconds is None else f", {left(one.eta_seconds)} left"
    return f"{one.done} of {one.total} chunks, {one.records:,} records{rate}{until}"


@contextmanager
def _watching(terminal: Terminal, title: str) -> Iterator[Watch]:
    """A bar on stderr while a backfill works, on a terminal only."""
    import sys

    from pipeline.backfill_report import unwatched

    if terminal.quiet or not sys.stderr.isatty():
        yield unwatched
        return
    from edge.cli.progress import filling

    with filling(title) as tell:
        yield lambda one: tell(one.percent, _words(one))


def _moment(option: str, text: str | None) -> str | None:
    from edge.bounds import bound

    try:
        return bound(text)
    except ValueError as error:
        raise Failed(f"{option}: {error}", USAGE) from None
