"""Sandbox: the simulated CRMs on loopback, to try everything without an account."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

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
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, help="The same seed makes the same deals, at another time under other ids."
        ),
    ] = 1,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Serve the simulated CRMs of every source.

    It prints the dealsync.toml that fits. Each CRM lies under its source's name; `/control` lets you work in them.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet, level="warning")
    from edge.cli.serving import serve
    from pipeline.sandbox import Sandbox

    crms = Sandbox(seed=seed, deals=deals)

    def told(base_url: str) -> tuple[dict[str, Any], str]:
        told = {"control": f"{base_url}/control", "config": crms.configuration(base_url)}
        return {**told, "environment": crms.environment()}, _text(told, crms.environment())

    crms.begin()
    try:
        serve(terminal, crms.app(), (host, port), "the sandbox", "/planhat", told)
    finally:
        crms.close()


def _text(told: dict[str, str], environment: dict[str, str]) -> str:
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return (
        f"\nWork in the CRMs at {told['control']}: docs/writing-a-source.md and GET {told['control']}/ tell how.\n"
        f"\n# a dealsync.toml that fits:\n{told['config']}\n# and what it refers to:\n{exports}\n"
    )
