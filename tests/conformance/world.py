"""A source's simulated tenant and the real pipeline, side by side: what every test of the kit begins with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from connectors.faults import Unavailable
from connectors.pacing import Timing
from connectors.registry import sources
from connectors.simulated_crm import SimulatedCrm
from connectors.simulated_wire import Answer, Request
from connectors.simulation import SimClock
from connectors.source import Account, Reader, Source
from pipeline import settings as configuration
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.summary import Progress, Summary, silent
from pipeline.sweep import sweep
from pipeline.wiring import App, migrate, open_app
from tests import servers

NAME = "tenant"
UNLIMITED = {"requests_per_minute": 1_000_000, "requests_per_hour": 1_000_000, "requests_per_day": 10_000_000}
NEXT_SECRET = "the-secret-after-the-rotation"
"""Verifies deliveries already, beside the one the tenant signs with."""

FAR = timedelta(days=2)
"""Further than any overlap, and past every limit's window and midnight."""

every_source = pytest.mark.parametrize("source", sources().values(), ids=lambda source: source.name)


class Crm(SimulatedCrm, Protocol):
    """A simulated tenant that can be asked in process."""

    def transport(self) -> httpx.BaseTransport: ...


@dataclass(slots=True)
class World:
    """One connection, called `tenant`, of one source."""

    source: Source
    crm: Crm
    app: App

    def pull(self, progress: Progress = silent) -> Summary:
        return self.patiently(lambda: pull(self.app, NAME, progress=progress))

    def sweep(self, progress: Progress = silent) -> Summary:
        return self.patiently(lambda: sweep(self.app, NAME, progress=progress))

    def publish(self) -> Summary:
        return publish(self.app)

    def settle(self) -> None:
        """Nobody changes anything any more: all we know how to do is done."""
        self.crm.before_list = None
        self.crm.faults.clear()
        self.crm.clock.advance(FAR)
        self.pull()
        self.sweep()
        self.sweep()
        self.publish()

    def patiently(self, verb: Callable[[], Summary], times: int = 2) -> Summary:
        """Run again, hours later, what a spent budget of requests, or a short outage, has stopped."""
        for _ in range(times):
            try:
                return verb()
            except Unavailable:
                self.crm.clock.advance(timedelta(hours=8))
        return verb()

    def open_reader(self, **changed: Any) -> Reader:
        """The source's reader as the pipeline opens it, but for what is changed in its account."""
        connected = self.app.connection(NAME)
        account = Account(
            name=NAME,
            base_url=connected.settings.base_url,
            options=connected.settings.options,
            fields={kind: connected.mapper.fields(kind) for kind in self.source.kinds},
            now=self.app.store.now,
            give_up_after_s=5.0,
            transport=self.crm.transport(),
            permits=self.app.permits(NAME, "pull"),
            **{"credentials": self.crm.credentials, **changed},
        )
        return self.source.open(account)


@dataclass(slots=True)
class Worlds:
    """Makes worlds on copies of one prepared store; every one of them has its own simulated time, and nobody sleeps."""

    folder: Path
    template: Path
    patch: pytest.MonkeyPatch
    opened: ExitStack
    made: int = 0

    def __call__(
        self,
        source: Source,
        *,
        deals: int = 23,
        seed: int = 5,
        url: str = "",
        clock: SimClock | None = None,
        table: str = "",
        **options: Any,
    ) -> World:
        """`options` are those of the connection; the limits are off and pages small where they say nothing. `table` is
        the text of a mapping, in place of the shipped one."""
        self.made += 1
        crm: Crm = source.simulator(seed=seed, deals=deals, clock=clock or SimClock())
        wait_in_simulated_time(self.patch, crm.clock)
        if not url:
            store = self.folder / f"store{self.made}.db"
            shutil.copy(self.template, store)
            url = f"sqlite:///{store}"
        file = self.folder / f"{self.made}.toml"
        mapping = f"{self.made}-table.toml" if table else None
        if mapping is not None:
            (self.folder / mapping).write_text(table)
        file.write_text(config_text(source, crm, url, options, mapping))
        secrets = {**crm.credentials, "hook": crm.webhook_secret, "next_hook": NEXT_SECRET}
        config = configuration.load(file, {name_of(key): secret for key, secret in secrets.items()})
        migrate(config)
        app = self.opened.enter_context(open_app(config, transports={NAME: crm.transport()}, give_up_after_s=5.0))
        app.epoch = crm.clock.epoch
        servers.unsynced(app.store.engine)
        return World(source, crm, app)


@contextmanager
def worlds(folder: Path, template: Path) -> Iterator[Worlds]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as opened:
        yield Worlds(folder, template, patch, opened)


def wait_in_simulated_time(patch: pytest.MonkeyPatch, clock: SimClock) -> None:
    """Whatever a reader waits for, it waits for in the tenant's time, which may be looked at afterwards."""
    chance = Timing.__init__.__defaults__[-1]  # type: ignore[index]
    patch.setattr(Timing.__init__, "__defaults__", (clock.monotonic, clock.sleep, chance))


def config_text(
    source: Source, crm: SimulatedCrm, url: str, options: Mapping[str, Any], mapping: str | None = None
) -> str:
    small = {"page_size": 5, **({"page_overlap": 1} if "page_overlap" in source.options.model_fields else {})}
    settings = {**UNLIMITED, **small, **crm.options, **options}
    lines = ["[store]", f'url = "{url}"', f"[connections.{NAME}]", f'source = "{source.name}"']
    lines += ['base_url = "https://crm.example.test"', 'default_currency = "USD"']
    lines += [] if mapping is None else [f'mapping = "{mapping}"']
    lines += ["delete_limit = 1.0"]  # nobody is here to release a change set
    lines += [f'{key} = {{ env = "{name_of(key)}" }}' for key in crm.credentials]
    lines += [f"[connections.{NAME}.webhook]"]
    lines += [f'secrets = [{{ env = "{name_of("hook")}" }}, {{ env = "{name_of("next_hook")}" }}]']
    lines += [f"[connections.{NAME}.options]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items() if value is not None]
    return "\n".join(lines) + "\n"


def name_of(credential: str) -> str:
    return f"SIMULATED_{credential.upper()}"


Rewrite = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def rewritten(
    crm: SimulatedCrm, rewrite: Rewrite, *, recount: bool = False
) -> Callable[[Request, Callable[[Request], Answer]], Answer]:
    """A mishap: rows disappear from lists of deals, whatever envelope they come in; totals stay as they were, or with
    `recount` tell of what is left only, as they do for whoever may not see the others."""

    def mishap(request: Request, handle: Callable[[Request], Answer]) -> Answer:
        answer = handle(request)
        known = set(crm.ids())
        try:
            body = json.loads(answer.body)
        except ValueError:
            return answer
        rows = _rows(body, known)
        if rows is None:
            return answer
        before = len(rows)
        rows[:] = rewrite(rows)
        if recount:
            shown = len(rewrite([{"id": one} for one in known]))
            _recount(body, {len(known): shown, before: len(rows)})
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
        return Answer(status=answer.status, body=json.dumps(body).encode(), headers=headers)

    return mishap


def _rows(body: Any, known: set[str]) -> list[dict[str, Any]] | None:
    """The list of deals somewhere in a body."""
    if isinstance(body, list):
        return body if any(isinstance(row, dict) and id_of(row, known) for row in body) else None
    if isinstance(body, dict):
        return next((found for part in body.values() if (found := _rows(part, known)) is not None), None)
    return None


def _recount(body: Any, told: Mapping[int, int]) -> None:
    """Change every number of an envelope that counts deals: all of them, or those on the page."""
    for key, value in body.items() if isinstance(body, dict) else ():
        if type(value) is int and not key.lower().startswith(("page", "per")):
            body[key] = told.get(value, value)
        else:
            _recount(value, told)


def id_of(record: Mapping[str, Any], known: set[str]) -> str | None:
    """The id of a record of the source: the value of its own `id`, whatever the vendor calls that."""
    return next((str(record[key]) for key in ("_id", "id") if key in record and str(record[key]) in known), None)
