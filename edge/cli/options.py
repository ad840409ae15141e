"""Options: the parameters that commands share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration; otherwise DEALSYNC_CONFIG, then ./dealsync.toml.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes, results and faults only.")]
ConnectionName = Annotated[str, typer.Argument(metavar="CONNECTION", help="A connection of the configuration.")]
OfConnection = Annotated[
    str | None, typer.Option("--connection", metavar="CONNECTION", help="Of this connection only.", show_default=False)
]
ExternalId = Annotated[str, typer.Argument(metavar="CONNECTION:ID", help="A deal by its external id.")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many; all without.", show_default=False)
]
GiveUpAfter = Annotated[
    str, typer.Option("--give-up-after", metavar="DURATION", help="How long a dead other side is tried again.")
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port to listen on; 0 takes any free one.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ring for a worker and end; needs a broker.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Who you are, for the audit; otherwise DEALSYNC_AS, then the system's user."
    ),
]
Why = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks later.")]
