"""Setup: write a first configuration that works as it stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.options import Config, Json, Quiet
from edge.cli.terminal import Terminal
from edge.exits import CONFIGURATION, USAGE, Failed

app = typer.Typer()

NEXT = (
    ("dealsync sandbox", "a simulated CRM, in a terminal of its own"),
    ("PLANHAT_TOKEN=sandbox dealsync pull planhat", "read its deals"),
    ("dealsync publish", "append them to the ledger"),
)

TEMPLATE = """\
# dealsync: CRM deals in, commission-ledger events out.
# Every key may be overridden by a variable: DEALSYNC__CONNECTIONS__PLANHAT__BASE_URL=...
# A secret is never written here: { env = "NAME" } reads a variable, { file = "/path" } a file.

[store]
# Where dealsync remembers. A file beside this one, or a PostgreSQL database:
# url = "postgresql://dealsync@localhost/dealsync"
url = "sqlite:///dealsync.db"

[broker]
# Who rings for workers: "none" (commands and timers do the work), "redis://host:6379/0" or "amqp://host".
url = "none"

[ledger]
# "embedded" keeps the ledger in the store. For OpenQuota's API instead:
# kind = "openquota"
# url = "https://api.openquota.ai/v1"
# api_key = { env = "OPENQUOTA_API_KEY" }
kind = "embedded"
currency = "USD"

# Who may use the pages and the operations API of `dealsync serve` and `dealsync up`; without it nobody may.
# [serve]
# api_tokens = [{ env = "ANN_TOKEN", name = "ann" }]

# One section for each account of a CRM; the name is yours (a-z, 0-9, -) and begins each deal's external id.
[connections.planhat]
source = "planhat"
# The simulated CRM of `dealsync sandbox`. Yours is https://api.planhat.com or the address of your cluster.
base_url = "http://127.0.0.1:8790/planhat"
# The sandbox takes the token "sandbox".
token = { env = "PLANHAT_TOKEN" }
# How often workers read what changed, and how often they read everything to find what is gone.
pull_every = "5m"
sweep_every = "24h"
# A deal in another currency than the ledger's waits for a person.
currency_policy = "park"
# The currency of deals that name none; without it they wait for a person.
default_currency = "USD"
# Your own table of stages and fields. `dealsync mapping suggest planhat` writes one from your deals:
# mapping = "mappings/planhat.toml"

[connections.planhat.options]
# Whether 1250 means 1250.00 ("major") or 12.50 ("minor").
amount_unit = "major"
"""


@app.command()
def init(
    ctx: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a configuration that is there.")] = False,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write a commented dealsync.toml that works with `sandbox`."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    file = (terminal.config or Path(os.environ.get("DEALSYNC_CONFIG", "").strip() or "dealsync.toml")).absolute()
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(TEMPLATE)
    except FileExistsError:
        raise Failed(f"{file} is there already; --force overwrites it", USAGE) from None
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}", CONFIGURATION) from None
    if terminal.json:
        terminal.document({"file": str(file), "next": [command for command, _ in NEXT]})
        return
    terminal.line(f"wrote {file}. Next:")
    for command, purpose in NEXT:
        terminal.line(f"  {command.ljust(46)} {purpose}")
