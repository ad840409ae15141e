"""Ringing: a process that is no worker tells the workers that something waits, after the commit it belongs to.

Celery is loaded by whoever really rings: most commands never do.
"""

from __future__ import annotations

from functools import lru_cache

from pipeline.faults import Unknown
from pipeline.wiring import App


def has_workers(app: App) -> bool:
    """Whether the work of this configuration is done by workers, whom a broker rings for."""
    return app.settings.broker.url != "none"


def refuse_without_workers(app: App, *, waits: bool = False) -> None:
    """Raises `Unknown` where there is nobody to leave the work to. Who `waits` for its end may as well do it."""
    if not (waits or has_workers(app)):
        raise Unknown(
            'broker.url is "none": there are no workers to leave the work to; run the command without --no-wait'
        )


def ring_for(app: App, verb: str, **ids: str) -> None:
    """Tell the workers, where there are any: without, or when nobody hears it, it is found in the database."""
    if has_workers(app):
        from pipeline.tasks import ring

        _use_broker(app.settings.broker.url)
        ring(verb, **ids)


@lru_cache(maxsize=1)
def _use_broker(url: str) -> None:
    from pipeline.tasks import use_broker

    use_broker(url)
