"""A store in which something of everything has happened, really served: what operators look at and act upon."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulation import serve
from deals.events import Event
from edge.asgi import Served
from pipeline import settings
from pipeline.audit import Operator
from pipeline.backfill import start
from pipeline.pause import pause, resume
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.store import outbox
from pipeline.store.outbox import BEGINNING, WHENEVER
from pipeline.sweep import sweep
from pipeline.wiring import App, migrate, open_app
from tests.edge.conftest import TOKEN

Lived = tuple[Path, PlanhatSimulator]
"""A store's file, and the CRM that it was read from."""

NAME = "planhat"
ANN, FINANCE = "ann-canary-0123456789abcdef/+x", "finance-canary-0123456789abcdef"
HOOK = "hook-canary-4711/+x"
SECRETS = (ANN, FINANCE, HOOK, TOKEN)
ENVIRON = {"PLANHAT_TOKEN": TOKEN, "ANN_TOKEN": ANN, "FINANCE_TOKEN": FINANCE, "HOOK_SECRET": HOOK}
HOSTILE = "<script>alert(1)</script>\u202e&\"'<b>"
"""A text that would be markup, end an attribute, and turn round what follows it."""

CONFIG = """\
[store]
url = "{store}"
[connections.planhat]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
currency_policy = "pass"
[connections.planhat.webhook]
secrets = [{{ env = "HOOK_SECRET" }}]
[connections.planhat.options]
requests_per_minute = 1000000
{more}
"""
TOKENS = """
[serve]
api_tokens = [{ env = "ANN_TOKEN", name = "ann" }, { env = "FINANCE_TOKEN", name = "finance", read_only = true }]
"""


@dataclass(frozen=True, slots=True)
class Operated:
    """The served store, the CRM behind it, and the configuration that the command line can be given."""

    app: App
    crm: PlanhatSimulator
    file: Path
    url: str

    def api(self, token: str | None = ANN) -> httpx.Client:
        """A client of the operations API."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    @contextmanager
    def browser(self, token: str | None = ANN) -> Iterator[httpx.Client]:
        """A browser that keeps cookies, signed in with a token."""
        with httpx.Client(base_url=self.url, timeout=30, follow_redirects=True) as client:
            if token is not None:
                answer = client.post("/login", data={"token": token, "next": "/"})
                assert answer.status_code == 200, answer.text
            yield client


@contextmanager
def opened(
    folder: Path, store: str, crm: PlanhatSimulator, *, connection: str = "", more: str = TOKENS
) -> Iterator[App]:
    """The configuration's store and ledger, the CRM within reach."""
    file = folder / "dealsync.toml"
    file.write_text(CONFIG.format(store=store, more=more))
    config = settings.load(file, ENVIRON)
    migrate(config)
    with open_app(config, transports={NAME: crm.transport()}, give_up_after_s=2.0) as app:
        yield app


@contextmanager
def operated(app: App, crm: PlanhatSimulator) -> Iterator[Operated]:
    """What `dealsync serve` serves of it, over real HTTP."""
    with closing(Served(app)) as served, serve(served) as url:
        yield Operated(app, crm, app.settings.file, url)


@contextmanager
def copied(folder: Path, lived: Lived) -> Iterator[Operated]:
    """A served copy of a store in which something of everything has happened."""
    file, crm = lived
    shutil.copy(file, folder / "store.db")
    with opened(folder, f"sqlite:///{folder / 'store.db'}", crm) as app, operated(app, crm) as made:
        yield made


def live(app: App, crm: PlanhatSimulator) -> None:
    """Something of everything: a deal of a hostile name, two parked ones, events sent and waiting, an incident, a held
    set, a backfill, a reconcile that found a difference, and people who paused and resumed."""
    hostile, yen, *others = crm.ids()
    crm.edit(hostile, name=HOSTILE, custom={HOSTILE: HOSTILE})
    crm.edit(yen, currency="JPY", total=1234567)
    for one in others[:2]:
        crm.edit(one, salesStage=HOSTILE, stage=HOSTILE)
    pull(app, NAME)
    with app.store.read() as tx:
        ours = outbox.heads(tx, after=BEGINNING, due=WHENEVER, limit=30)[29].event
    app.ledger.append([Event(ours.external_id, "upsert", ours.dedup_key, b'{"amount_cents":1}')])  # somebody else
    publish(app)
    pause(app, NAME, Operator("ann", HOSTILE))
    resume(app, NAME, Operator("bob"))
    start(app, NAME, ("2024-01-01T00:00:00.000Z", None), operator=Operator("ann"))
    for one in others[10 : 10 + len(crm.ids()) // 8]:
        crm.delete(one)
    sweep(app, NAME)
    sweep(app, NAME)
    reconcile(app, NAME)
    crm.edit(others[5], total=99)
    pull(app, NAME)
