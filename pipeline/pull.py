"""Pull: read what changed at a source since the checkpoint, and land it page by page."""

from __future__ import annotations

from pipeline.ahead import ahead
from pipeline.refer import refresh_references
from pipeline.replay import replay_if_mapping_changed
from pipeline.run import running
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

STREAM = "pull"


def pull(app: App, connection: str, *, progress: Progress = silent) -> Summary:
    """Read what changed since the checkpoint; everything the first time. Nothing is published.

    A run that was cut off resumes at its last committed page. Raises the faults of the source, of the store, `Busy`
    when somebody else reads this connection, and `Stopped` when too much had to be parked.
    """
    with running(app, connection, "pull", progress=progress) as run:
        refresh_references(run)
        replay_if_mapping_changed(run)
        for page in ahead(run.reader.changed(run.checkpoint(STREAM))):
            run.land(page, STREAM)
    return run.summary
