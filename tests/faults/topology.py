"""The topology: dealsync as it is deployed, as plain processes, two of everything, on servers that may be harmed.

PostgreSQL, the broker and the ledger's service are reached through relays only; the ledger keeps a database of its own.
The judge goes past the relays.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from ledger import keys
from ledger.engine import connect
from pipeline import alive, settings
from pipeline.wiring import connected, migrate
from tests.deploy.files import queues
from tests.faults.backing import Postgres, Valkey, children_of
from tests.faults.people import TENANTS, People
from tests.faults.relay import COMMIT, Answers, Messages, Recording, Relay, Rewriting, Unanswered
from tests.servers import reserved_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
DATABASE = "dealsync"
CANARY = "-never-to-be-logged"
CONFIG = """\
[store]
url = "{store}"
[broker]
url = "{broker}"
"""
ELSEWHERE = """\
[ledger]
kind = "openquota"
url = "http://127.0.0.1:{ledger}/v1"
api_key = {{ env = "LEDGER_KEY" }}
"""
CONNECTION = """\
[connections.{name}]
source = "{source}"
base_url = "{base_url}/{name}"
{credentials}
default_currency = "USD"
delete_limit = 1.0
park_limit = 1.0
pull_every = "2s"
sweep_every = "2s"
[connections.{name}.options]
{options}
[connections.{name}.webhook]
secrets = [{{ env = "{variable}_HOOK" }}]
"""
SILENT_S = 20.0
"""Deployments wait for a minute."""

WITNESS = """\
CREATE TABLE witness_moves (at bigserial, connection_id int, stream text, run_id bigint);
CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness_moves (connection_id, stream, run_id) VALUES (NEW.connection_id, NEW.stream, NEW.run_id);
  RETURN NEW;
END $$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE ON checkpoints FOR EACH ROW EXECUTE FUNCTION moved();
CREATE TABLE witness_runs (run_id bigint, kind text);
CREATE FUNCTION rose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness_runs VALUES (NEW.id, NEW.kind);
  RETURN NEW;
END $$;
CREATE TRIGGER witness AFTER UPDATE ON runs FOR EACH ROW
  WHEN (OLD.state = 'abandoned' AND (NEW.state = 'done' OR NEW.read <> OLD.read)) EXECUTE FUNCTION rose();
"""
"""The database itself writes down which run moved which checkpoint, in the order of the commits, and which run landed
something after another had taken its work over and found it dead."""

WORKER = ("celery", "-A", "worker", "worker", "--concurrency", "2", "--without-gossip", "--without-mingle")
BEAT = ("celery", "-A", "worker", "beat")


@dataclass
class Process:
    """One process that the forge began. `handle` stays its own even when its pid is given to another."""

    argv: tuple[str, ...]
    pid: int
    handle: int | None

    def lives(self) -> bool:
        return self.handle is not None and not select.select([self.handle], [], [], 0)[0]

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        return self.handle is None or bool(select.select([self.handle], [], [], seconds)[0])


class Topology:
    """Processes by their names: `worker-1`, `beat-2`, `receiver-1`, `ledger-2` and so on."""

    def __init__(
        self, folder: Path, seed: int, *, store: str = "postgresql", broker: bool = True, embedded: bool = False
    ) -> None:
        self.folder, self.random, self.embedded = folder, Random(f"{seed}/faults"), embedded
        self.on_postgres, self.has_broker = store == "postgresql", broker
        self.people = People(seed)
        self.processes: dict[str, Process] = {}
        self.died: list[str] = []
        self._killed: set[str] = set()
        self._asleep: set[str] = set()
        self.awoke: list[datetime] = []
        self._stack = ExitStack()
        self.lost_commits, self.lost_receipts = Answers(seed), Answers(seed)
        self.messages = Messages(seed, frozenset(name.encode() for name in queues()))
        self.sent_to_ledger: list[list[bytes]] = []
        self.witnesses: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Of every process that should be there."""
        return list(self.commands())

    @contextmanager
    def running(self) -> Iterator[Topology]:
        """Everything is begun; ended, and each process gone, with the block."""
        with self._stack:
            self._prepare()
            self._stack.callback(self._end)
            for name in self.names:
                self.start(name)
            self.people.notify(f"http://127.0.0.1:{self.receivers.port}")
            yield self

    # -- processes

    def start(self, name: str) -> None:
        """Begin a process; nothing when it lives."""
        if name in self.processes:
            if self.processes[name].lives():
                return
            if name not in self._killed:
                self.died.append(name)
        self._killed.discard(name)
        argv = self.commands()[name]
        environ = self._ledger_environ if name.startswith("ledger") else self.environ
        environ = {**environ, alive.FILE: str(self.folder / f"{name}.alive")}
        order = {"argv": list(argv), "environ": environ, "log": str(self.folder / f"{name}.log")}
        assert self._forge.stdin is not None
        assert self._forge.stdout is not None
        self._forge.stdin.write(json.dumps(order) + "\n")
        self._forge.stdin.flush()
        pid = int(self._forge.stdout.readline())
        try:
            handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            handle = None
        self.processes[name] = Process(argv, pid, handle)

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def kill(self, name: str, how: str = "group") -> None:
        """SIGKILL: for the process and all of its children, for itself alone (`main`), or for one `child` of it."""
        process = self.processes[name]
        children = children_of(process.pid) if how == "child" else []
        self._killed.add(name)  # a worker that loses a child while it begins gives up
        with suppress(ProcessLookupError):  # it may end by itself at this very moment
            if children:
                os.kill(self.random.choice(children), signal.SIGKILL)
            else:
                (os.killpg if how == "group" else os.kill)(process.pid, signal.SIGKILL)
        assert children or process.wait(10), f"{name} outlives SIGKILL"

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a process and its children."""
        (self._asleep.add if number == signal.SIGSTOP else self._asleep.discard)(name)
        if number == signal.SIGCONT:
            self.awoke.append(datetime.now(UTC))
        os.killpg(self.processes[name].pid, number)

    def supervise(self) -> None:
        """What the deployments' probes do: begin those that have ended, and those that no longer say that they live."""
        self.start_all()
        for name in self.names:
            file = self.folder / f"{name}.alive"
            watched = name.startswith("worker") and name not in self._asleep and file.exists()
            if watched and not alive.lives({alive.FILE: str(file)}, SILENT_S):
                file.unlink()
                self.died.append(name)
                self.kill(name)
                self.start(name)

    def stop(self, *names: str) -> None:
        """SIGTERM, as a deployment ends its processes, for all or for some; those that do not heed it are killed."""
        chosen = {name: self.processes[name] for name in names or self.processes}
        for process in chosen.values():
            if process.lives():
                os.kill(process.pid, signal.SIGTERM)
        for process in chosen.values():
            process.wait(25)
            self._bury(process)

    def command(self, *words: str, check: bool = True) -> Any:
        """The document that a command prints."""
        program = str(Path(sys.executable).parent / "dealsync")
        done = subprocess.run(
            [program, *words, "--json"], env=self.environ, capture_output=True, text=True, check=False, timeout=120
        )
        assert not check or done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def said(self) -> str:
        """What all processes have logged."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def hung(self) -> set[str]:
        """The workers that found that they hung, said where, and ended; a supervisor begins them anew."""
        return {file.stem for file in self.folder.glob("worker-*.log") if b'"worker.hangs"' in file.read_bytes()}

    def tail(self) -> str:
        """The end of each log, for whoever must find out why a test fails."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {file.stem}\n{file.read_text(errors='replace')[-1500:]}" for file in logs)

    def ready(self) -> None:
        """Every process is there and has begun its work."""
        for name in self.names:
            eventually(partial(self._begun, name), f"{name} has begun", told=partial(self._log, name))

    def _begun(self, name: str) -> bool:
        sign = {"worker": " ready.", "beat": "Starting"}.get(name.partition("-")[0], "listens on")
        return sign in self._log(name)

    def _log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    # -- inside

    def commands(self) -> dict[str, tuple[str, ...]]:
        """What each process runs."""
        receiver_1, receiver_2, ledger_1, ledger_2 = (("--port", str(port)) for port in self.ports)
        ledgers = {
            "ledger-1": ("dealsync", "ledger", "serve", *ledger_1),
            "ledger-2": ("dealsync", "ledger", "serve", *ledger_2),
        }
        if not self.has_broker:
            return ledgers | {"up-1": ("dealsync", "up", *receiver_1), "up-2": ("dealsync", "up", *receiver_2)}
        return ledgers | {
            "receiver-1": ("dealsync", "serve", *receiver_1),
            "receiver-2": ("dealsync", "serve", *receiver_2),
            "worker-1": WORKER,
            "worker-2": WORKER,
            "beat-1": BEAT,
            "beat-2": BEAT,
        }

    def _prepare(self) -> None:
        self.ports = [self._port() for _ in range(4)]
        self._forge = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forge"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(self._forge)
        self._stack.enter_context(self.people.served())
        lost, receipts = self.lost_commits, self.lost_receipts
        self.store_url = store = f"sqlite:///{self.folder / 'store.db'}"
        if self.on_postgres:
            self.postgres = Postgres()
            self._stack.callback(self.postgres.close)
            self.store_relay = self._relay(Relay(self.postgres.address, ear=lambda: Unanswered(COMMIT, lost)))
            self.store_url = self.postgres.url(DATABASE)
            store = f"postgresql://postgres@127.0.0.1:{self.store_relay.port}/{DATABASE}?sslmode=disable"
        broker = "none"
        if self.has_broker:
            self.broker = Valkey(self.folder / "broker", self._port())
            self._stack.callback(self.broker.kill)
            where = ("127.0.0.1", self.broker.port)
            self.broker_relay = self._relay(Relay(where, ear=lambda: Rewriting(self.messages)))
            broker = f"redis://127.0.0.1:{self.broker_relay.port}/0"
        ledgers = [("127.0.0.1", port) for port in self.ports[2:]]
        kept = self.sent_to_ledger
        self.ledger_relay = self._relay(Relay(*ledgers, ear=lambda: Recording(kept, receipts, b"POST /v1/deals")))
        self.receivers = self._relay(Relay(*(("127.0.0.1", port) for port in self.ports[:2])))
        self._configure(store, broker)
        assert self._forge.stdout is not None
        assert int(self._forge.stdout.readline()) == self._forge.pid

    def _port(self) -> int:
        return self._stack.enter_context(reserved_port())

    def _relay(self, relay: Relay) -> Relay:
        self._stack.callback(relay.close)
        return relay

    def _configure(self, store: str, broker: str) -> None:
        if self.on_postgres:
            with self.postgres.admin() as admin:
                admin.execute(f"CREATE DATABASE {DATABASE}")
        bare = {name: value for name, value in os.environ.items() if not name.startswith("DEALSYNC")}
        ledger = ELSEWHERE.format(ledger=self.ledger_relay.port)
        if self.embedded:
            ledger, self.ledger_url, self.ledger_key = "", self.store_url, CANARY
        else:
            self._open_ledger()
            self._ledger_environ = {**bare, "DEALSYNC_CONFIG": str(self.folder / "ledger.toml")}
        file = self.folder / "dealsync.toml"
        text = CONFIG.format(store=store, broker=broker) + ledger
        file.write_text("\n".join([text, *map(self._connection, TENANTS)]))
        paces = {"DEALSYNC_TICK_EVERY_S": "1", "DEALSYNC_LISTENS_EVERY_S": "2"}
        more = {"DEALSYNC_CONFIG": str(file), "LEDGER_KEY": self.ledger_key, **paces}
        self.environ = {**bare, **more, **self._secrets()}
        self.settings = settings.load(file, self.environ)
        migrate(self.settings)
        self.mappers = {name: connected(self.settings, name).mapper for name in TENANTS}
        if self.on_postgres:
            with self.postgres.admin(DATABASE) as admin:
                admin.execute(WITNESS)
            self.witnesses = {
                "moves": "SELECT connection_id, stream, run_id FROM witness_moves ORDER BY at",
                "risen": "SELECT run_id, kind FROM witness_runs",
            }

    def _open_ledger(self) -> None:
        self.ledger_url = f"sqlite:///{self.folder / 'ledger.db'}"
        (self.folder / "ledger.toml").write_text(f'[store]\nurl = "{self.ledger_url}"\n')
        migrate(settings.load(self.folder / "ledger.toml", {}))
        engine = connect(self.ledger_url)
        made = keys.create(engine, name="campaign", scopes=["deals:write", "deals:read"], rpm=1_000_000)
        self.ledger_key = made["key"]
        engine.dispose()

    def _connection(self, name: str) -> str:
        tenant = self.people.crms[name].tenant
        variable = _variable(name)
        options = {"requests_per_minute": 1_000_000, "page_size": 12, **tenant.options}
        return CONNECTION.format(
            name=name,
            source=TENANTS[name],
            base_url=self.people.base_url,
            variable=variable,
            credentials="\n".join(f'{key} = {{ env = "{variable}_{key.upper()}" }}' for key in tenant.credentials),
            options="\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items()),
        )

    def _secrets(self) -> Mapping[str, str]:
        found = {}
        for name, crm in self.people.crms.items():
            crm.tenant.webhook_secret = f"hook-of-{name}{CANARY}"
            found[f"{_variable(name)}_HOOK"] = crm.tenant.webhook_secret
            found |= {f"{_variable(name)}_{key.upper()}": value for key, value in crm.tenant.credentials.items()}
        return found

    def _end(self) -> None:
        for process in self.processes.values():
            self._bury(process)

    def _bury(self, process: Process) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children that outlived it included


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
