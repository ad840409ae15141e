"""Ledger: serve, verify and rebuild the embedded ledger, and manage the keys of its API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, Host, Json, Port, Quiet, Why
from edge.cli.terminal import Terminal
from edge.exits import DONE, INTEGRITY, USAGE, Failed

group = typer.Typer(no_args_is_help=True, help="The embedded ledger.")
keys = typer.Typer(no_args_is_help=True, help="Keys of the ledger's API.")
group.add_typer(keys, name="keys")

_WIDTHS = {"ID": 30, "NAME": 20, "PREFIX": 14, "ORG": 14, "SCOPES": 30, "STATE": 10}
_AUDITED = {"AT": 24, "ID": 30, "ACTION": 44, "STATUS": 6, "CALLS": 8}


Org = Annotated[
    str | None, typer.Option("--org", metavar="ORG", help="An organisation of the ledger.", show_default=False)
]


@group.command()
def serve(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8800,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Serve the ledger's HTTP API until it is told to stop."""
    terminal = Terminal.of(ctx, as_json, config, quiet, level="info")
    from edge.cli.serving import serve as listen
    from pipeline.ledger_tools import service_app

    listen(terminal, service_app(terminal.settings()), (host, port), "the ledger", "/v1")


@group.command()
def verify(
    ctx: typer.Context,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="HEAD", help="A head told before: it must still be in the chain."),
    ] = None,
    org: Org = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Check the ledger's hash chain, its sequence, its keys and its deals: of one organisation, or of all."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ledger_tools import verify as verb

    verdict = verb(terminal.settings(), expect, org)
    if terminal.json:
        told = ["ok", "events", "deals", "first_bad", *(["head"] if expect is not None else [])]
        terminal.document({name: verdict[name] for name in told})
    else:
        several = len(verdict["orgs"]) > 1
        for name, one in verdict["orgs"].items():
            _tell(terminal, f"the ledger of {name}" if several or org is not None else "the ledger", one)
    raise typer.Exit(DONE if verdict["ok"] else INTEGRITY)


def _tell(terminal: Terminal, which: str, verdict: dict[str, Any]) -> None:
    """The verdict on one organisation, for a person."""
    if verdict["ok"]:
        terminal.line(f"{which} is whole: {verdict['events']:,} events, {verdict['deals']:,} deals")
        terminal.note(f"head {verdict['head']}: keep it elsewhere, and give it to the next verify as --expect")
    else:
        bad = verdict["first_bad"] or {}
        row = f" row {bad['row']}" if bad.get("row") else ""
        terminal.complain(f"{which} is damaged: {bad.get('table')}{row}: {bad.get('why')}")


@group.command()
def export(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Where to write: as Parquet if it ends in .parquet, else as CSV; replaced."
        ),
    ],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Received from then on: a day, or a time with its zone."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Received before then: a day, or a time with its zone."),
    ] = None,
    org: Org = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write a period's events as CSV or Parquet, with a digest that can be cited: it is the same for both."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from edge.bounds import bound
    from pipeline.ledger_tools import export as verb

    try:
        found = verb(terminal.settings(), file, bound(since) or "", bound(until) or "9999", org)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}; name another file", USAGE) from error
    except ValueError as error:
        raise Failed(str(error), USAGE) from error
    if terminal.json:
        terminal.document(found)
    else:
        terminal.line(f"{found['events']:,} events in {file}, digest {found['digest']}, head {found['head']}")
        terminal.note(f"the file's own sha256 is {found['sha256']}")


@group.command()
def rebuild(
    ctx: typer.Context,
    org: Org = None,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Compute the ledger's deals anew from its events: of an organisation, or of our own."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ledger_tools import rebuild as verb

    deals = verb(terminal.settings(), operator(who, why), org)
    if terminal.json:
        terminal.document({"deals": deals})
    elif not terminal.quiet:
        terminal.line(f"{deals:,} deals rebuilt from the events")


@keys.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    scope: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="What it may do, like deals:write; may be repeated.")
    ],
    org: Annotated[
        str | None, typer.Option("--org", metavar="ORG", help="The organisation it belongs to.", show_default=False)
    ] = None,
    rpm: Annotated[
        int | None, typer.Option("--rpm", metavar="N", min=1, help="Requests a minute.", show_default=False)
    ] = None,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Make a key; it is shown this once."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ledger_tools import keys_create

    try:
        made = keys_create(terminal.settings(), name, scope, org, rpm, operator(who, why))
    except ValueError as error:
        raise Failed(str(error), USAGE) from error
    if terminal.json:
        terminal.document(made)
        return
    terminal.line(made["key"])
    terminal.note(f"key {made['key_id']} for {', '.join(made['scopes'])}; it will not be shown again")


@keys.command("list")
def list_(ctx: typer.Context, as_json: Json = False, config: Config = None, quiet: Quiet = False) -> None:
    """Every key, without its text."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ledger_tools import keys_list

    found = keys_list(terminal.settings())
    if terminal.json:
        terminal.stream("keys", found)
        return
    rows = (
        [
            one["key_id"],
            one.get("name"),
            one["prefix"],
            one["org"],
            ", ".join(one["scopes"]),
            "revoked" if one.get("revoked_at") else "in force",
        ]
        for one in found
    )
    if not terminal.table(_WIDTHS, rows):
        terminal.note("there are no keys")


@keys.command()
def audit(
    ctx: typer.Context,
    key_id: Annotated[str | None, typer.Argument(metavar="KEY_ID", show_default=False)] = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """What was done with a key, or with every key."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ledger_tools import keys_audit

    found = keys_audit(terminal.settings(), key_id)
    if terminal.json:
        terminal.stream("audit", found)
        return
    rows = ([one["at"], one["key_id"], one["action"], one["status"] or "", one["calls"]] for one in found)
    if not terminal.table(_AUDITED, rows):
        terminal.note("nothing was done with it")


@keys.command()
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID")],
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Revoke a key at once."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.ledger_tools import keys_revoke

    revoked = keys_revoke(terminal.settings(), key_id, operator(who, why))
    if terminal.json:
        terminal.document({"revoked": revoked})
    elif not revoked:
        raise Failed(f"there is no key {key_id!r} in force: `dealsync ledger keys list` shows them", USAGE)
    elif not terminal.quiet:
        terminal.line(f"{key_id} is revoked")
    raise typer.Exit(DONE if revoked else USAGE)
