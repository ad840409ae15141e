"""Sandbox: the simulated CRMs on loopback, to try everything without an account."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli.options import Config, Host, Json, Port, Quiet
from edge.cli.terminal import Terminal

app = typer.Typer()


@app.command()
def sandbox(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8790,
    deals: Annotated[
        int, typer.Option("--deals", metavar="N", min=0, max=1_000_000, help="How many deals each CRM begins with.")
    ] = 500,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed makes the same deals.")] = 1,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Serve the simulated CRMs.

    Each lies under its source's name and takes the token `sandbox`.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet, level="warning")
    from edge.cli.serving import serve
    from pipeline.sandbox import sandbox_app

    serve(terminal, sandbox_app(seed=seed, deals=deals), (host, port), "the sandbox (token: sandbox)", "/planhat")
