"""Up: everything in one process, for those who need no more."""

from __future__ import annotations

import typer

from edge.cli.options import Config, Host, Json, Port, Quiet
from edge.cli.serve import PATIENCE
from edge.cli.terminal import Terminal

app = typer.Typer()


@app.command()
def up(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8700,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Do everything until told to stop: the schedule, reading, publishing, backfills, and receiving webhooks.

    No broker is needed, and none is used. Any number of these processes may run over one store.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet, level="info")
    from contextlib import closing

    from edge.asgi import Served
    from edge.cli.serving import serve as listen
    from pipeline.poison import Sieve
    from pipeline.up import Crew

    with terminal.app(PATIENCE) as opened:
        opened.ledger = Sieve(opened.ledger)
        with closing(Crew(opened)) as crew, closing(Served(opened, crew.bell)) as served:
            listen(terminal, served, (host, port), "dealsync", "")
