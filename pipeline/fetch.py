"""Fetch: read one deal by its id, because somebody hinted at it, and land it."""

from __future__ import annotations

from connectors.source import Absent
from pipeline.run import running
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App


def fetch(app: App, connection: str, source_id: str, *, progress: Progress = silent) -> Summary:
    """Read one deal and apply it. It waits for no pull or backfill of the connection.

    A deal that the source does not show is noted, not deleted: that takes two complete sweeps as well.
    """
    with running(app, connection, "fetch", progress=progress, exclusive=False) as run:
        answer = run.reader.one(source_id)
        if isinstance(answer, Absent):
            run.summary.notes.append(
                f"the source does not show {source_id} ({answer.answer}); sweeps decide whether it is gone"
            )
        else:
            run.land_found(answer)
    return run.summary
