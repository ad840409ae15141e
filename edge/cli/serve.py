"""Serve: the server that receives webhooks and tells monitors how it is."""

from __future__ import annotations

import typer

from edge.cli.options import Config, Host, Json, Port, Quiet
from edge.cli.terminal import Terminal

app = typer.Typer()

PATIENCE = "5s"
"""Records are looked at in the background: an outage is not sat out, they are due again later."""


@app.command()
def serve(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8700,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Receive webhooks until told to stop; without a broker, also look at what they hint at."""
    terminal = Terminal.of(ctx, as_json, config, quiet, level="info")
    from contextlib import closing

    from edge.asgi import Served
    from edge.cli.serving import serve as listen

    with terminal.app(PATIENCE) as opened, closing(Served(opened)) as served:
        listen(terminal, served, (host, port), "dealsync", "")
