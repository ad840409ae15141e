"""The faults: each a small function on a topology, that harms something and mends it again.

None of them judges. Whoever calls them lets people work meanwhile, waits for quiet and asks the judge.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import redis

from connectors.simulated_wire import html, lost_answer, rate_limited, refused, slow, truncated
from tests.faults.backing import WAL_SEGMENT_MB, limit_files
from tests.faults.judge import gathered, in_step, verdict
from tests.faults.topology import DATABASE, Topology
from tests.waiting import eventually

QUIET_WITHIN_S = 120.0
"""A lease outlives its owner by ten seconds, and what a dead worker was told to look at is left to it for a while."""

PASSES = 16
"""So many requests are a pull and a sweep of any of these tenants."""


def quiet(topology: Topology, within_s: float = QUIET_WITHIN_S) -> None:
    """Nothing goes wrong any more, nobody works in the CRMs, and everything that was is told."""
    topology.start_all()
    ends = time.monotonic() + within_s
    while missing := in_step(topology):
        topology.supervise()
        if time.monotonic() > ends:
            raise AssertionError("\n".join([*missing[:10], *verdict(topology)[:20], topology.tail()]))
        time.sleep(0.25)


def judged(topology: Topology) -> None:
    """Wait for quiet; then every invariant holds."""
    quiet(topology)
    complaints = verdict(topology)
    assert not complaints, "\n".join(complaints[:30])


def nothing_more_happens(topology: Topology) -> None:
    """Everything is read again, and nobody writes: the ledger and what was decided stay as they are."""
    before = gathered(topology)
    logs = [crm.tenant.log for crm in topology.people.crms.values()]
    asked = [len(log) for log in logs]
    eventually(lambda: all(len(log) > was + PASSES for log, was in zip(logs, asked, strict=True)), "all is read again")
    after = gathered(topology)
    assert (len(after.told), after.store["events"]) == (len(before.told), before.store["events"])


# -- processes


def kill_at_random(topology: Topology, kills: int, *, longest_s: float = 0.5) -> dict[str, int]:
    """SIGKILL somebody who lives, so many times, each begun again a little later: how often each was."""
    chance, met = topology.random, dict.fromkeys(topology.names, 0)
    workers = [name for name in topology.names if name.startswith(("worker", "up"))]
    back_at: dict[str, float] = {}
    while sum(met.values()) < kills:
        time.sleep(chance.uniform(0.02, longest_s))
        for name in [one for one, moment in back_at.items() if moment <= time.monotonic()]:
            topology.start(name)
            del back_at[name]
        name = chance.choice([*topology.names, *workers * 2])
        if topology.processes[name].lives():
            topology.kill(name, chance.choice(["group", "group", "main", "child"]))
            met[name] += 1
            back_at[name] = time.monotonic() + chance.uniform(0.0, 2 * longest_s)
    topology.start_all()
    return met


def asleep_past_its_lease(topology: Topology, connection: str = "planhat-eu") -> None:
    """A worker is stopped while it waits for a page, and wakes when another has taken its work over and done it.

    Nobody may be at work in the CRMs: what is asked of them is then asked under the connection's lease.
    """
    crm = topology.people.crms[connection].tenant
    topology.kill("worker-2")
    asked = len(crm.log)
    crm.faults.next(slow(1.5))
    eventually(lambda: len(crm.log) > asked, "somebody reads a page")
    topology.signal("worker-1", signal.SIGSTOP)
    sleeper = _token(topology, connection)
    topology.start("worker-2")
    topology.people.work(10)
    eventually(
        lambda: _token(topology, connection) >= sleeper + 2, "others have taken the lease, one after another", 60
    )
    topology.signal("worker-1", signal.SIGCONT)


def asleep_in_a_transaction(topology: Topology, name: str = "worker-1") -> None:
    """A worker is stopped while it lands a page: it holds the row of the connection's lease, and does not commit."""
    taken = "SELECT 1 FROM leases WHERE name LIKE 'connection %' FOR UPDATE NOWAIT"
    with topology.postgres.admin(DATABASE) as admin:
        for _ in range(400):
            topology.signal(name, signal.SIGSTOP)
            if all(_refused(admin, taken) for _ in range(4)):
                return
            topology.signal(name, signal.SIGCONT)
            time.sleep(topology.random.uniform(0.0, 0.1))
    raise AssertionError(f"{name} was never met in the middle of a page")


def _refused(admin: psycopg.Connection[Any], statement: str) -> bool:
    """Whether somebody holds the lock, a little after whatever was on its way to the database came to its end."""
    time.sleep(0.2)
    try:
        admin.execute(statement)
    except psycopg.errors.LockNotAvailable:
        return True
    return False


def _token(topology: Topology, connection: str) -> int:
    """The fencing token of a connection's lease."""
    with topology.postgres.admin(DATABASE) as admin:
        row = admin.execute("SELECT token FROM leases WHERE name = %s", [f"connection {connection}"]).fetchone()
    assert row is not None
    return int(row[0])


# -- the broker


def broker_killed(topology: Topology, away_s: float = 1.5) -> None:
    """It begins again with nothing in it."""
    topology.broker.kill()
    time.sleep(away_s)
    topology.broker.start()


def broker_flushed(topology: Topology, times: int = 6) -> None:
    """Whatever waits in it, or was taken and not acknowledged, is forgotten."""
    with topology.broker.client() as client:
        for _ in range(times):
            client.flushall()
            time.sleep(topology.random.uniform(0.05, 0.3))


def broker_paused(topology: Topology, seconds: float = 3.0) -> None:
    """It takes everything and answers nothing: longer than its clients are patient."""
    topology.broker.signal(signal.SIGSTOP)
    time.sleep(seconds)
    topology.broker.signal(signal.SIGCONT)


def broker_read_only(topology: Topology, seconds: float = 2.0) -> None:
    """A failover that has gone half way."""
    with topology.broker.client() as client:
        client.replicaof("127.0.0.1", 1)
        with suppress(redis.ReadOnlyError):
            client.set("probe", 1)
            raise AssertionError("the broker still takes writes")
        time.sleep(seconds)
        client.replicaof("NO", "ONE")


def broker_out_of_memory(topology: Topology, seconds: float = 2.0) -> None:
    """It refuses whatever would cost memory."""
    with topology.broker.client() as client:
        client.config_set("maxmemory", 1)
        with suppress(redis.OutOfMemoryError):
            client.lpush("probe", 1)
            raise AssertionError("the broker still takes messages")
        time.sleep(seconds)
        client.config_set("maxmemory", 0)


def messages_maltreated(topology: Topology, seconds: float = 3.0) -> None:
    """Of those put into a queue some are lost, some come three times, some overtake all others."""
    messages = topology.messages
    messages.tripled, messages.dropped, messages.overtaking = 0.4, 0.2, 0.3
    time.sleep(seconds)
    messages.tripled = messages.dropped = messages.overtaking = 0.0


@contextmanager
def messages_lost(topology: Topology) -> Iterator[None]:
    """Meanwhile every message is lost, of whoever sends it."""
    topology.messages.dropped = 1.0
    try:
        yield
    finally:
        topology.messages.dropped = 0.0


# -- the store


def store_restarted(topology: Topology) -> None:
    """Sessions are cut, and transactions rolled back, by an orderly restart."""
    topology.postgres.restart_fast()


def store_killed(topology: Topology) -> None:
    """It recovers from its log."""
    topology.postgres.kill()
    time.sleep(topology.random.uniform(0.1, 1.0))
    topology.postgres.start()


def sessions_terminated(topology: Topology, times: int = 8) -> int:
    """Sessions end under whoever uses them; how many did."""
    ended = 0
    for _ in range(times):
        ended += topology.postgres.terminate_backends(DATABASE)
        time.sleep(topology.random.uniform(0.05, 0.3))
    return ended


def commits_unanswered(topology: Topology, seconds: float = 3.0, share: float = 0.15) -> int:
    """Commits take place, and their answer is a reset connection; how many met that."""
    before = topology.lost_commits.lost
    topology.lost_commits.share = share
    time.sleep(seconds)
    topology.lost_commits.share = 0.0
    return topology.lost_commits.lost - before


def receipts_unanswered(topology: Topology, seconds: float = 3.0, share: float = 0.4) -> int:
    """The ledger takes events, and we are not told; how often."""
    before = topology.lost_receipts.lost
    topology.lost_receipts.share = share
    time.sleep(seconds)
    topology.lost_receipts.share = 0.0
    return topology.lost_receipts.lost - before


def network_cut(topology: Topology, times: int = 6) -> None:
    """Every connection to the store, to the broker and to the ledger is reset at once."""
    for _ in range(times):
        for relay in (topology.store_relay, topology.broker_relay, topology.ledger_relay):
            relay.cut()
        time.sleep(topology.random.uniform(0.1, 0.5))


def disk_full(topology: Topology, seconds: float = 2.0) -> None:
    """There is no room where deliveries land: their table cannot grow by a page, and the senders must be told."""
    junk = (
        "sha256(n::text::bytea), 1, repeat(n::text, 500)::bytea, '{}', '2000', 'junk' FROM generate_series(1, 3000) n"
    )
    with topology.postgres.admin(DATABASE) as admin:
        # Beyond the size of a file of the log, which must go on; what is deleted is not given back before a vacuum.
        admin.execute(f"INSERT INTO inbox (name, connection_id, body, headers, received_at, state) SELECT {junk}")
        admin.execute("DELETE FROM inbox WHERE state = 'junk'")
        row = admin.execute("SELECT pg_relation_size('inbox')").fetchone()
    assert row is not None
    assert row[0] > WAL_SEGMENT_MB << 20
    topology.postgres.limit_files(row[0])
    time.sleep(seconds)
    topology.postgres.limit_files(None)


def log_disk_full(topology: Topology, seconds: float = 2.0) -> None:
    """There is no room for the log either: PostgreSQL panics and gives up, and begins again when there is."""
    topology.postgres.limit_files(8 << 10)
    time.sleep(seconds)
    topology.postgres.limit_files(None)
    if not topology.postgres.lives():
        topology.postgres.start()


def store_file_full(topology: Topology, seconds: float = 3.0) -> None:
    """There is no room for what SQLite must write before it may call a transaction committed."""
    ups = [name for name in topology.names if name.startswith("up")]
    log = topology.folder / "store.db-wal"
    eventually(lambda: log.stat().st_size > 100_000, "the store's own log is longer than those of the processes")
    for name in ups:
        limit_files(topology.processes[name].pid, log.stat().st_size)
    time.sleep(seconds)
    for name in ups:
        limit_files(topology.processes[name].pid, None)


# -- the other sides


def ledger_away(topology: Topology, seconds: float = 2.5) -> None:
    """Nobody answers for the ledger; events of the same deals queue up."""
    topology.ledger_relay.refuses = True
    topology.ledger_relay.cut()
    time.sleep(seconds)
    topology.ledger_relay.refuses = False


def sources_ill(topology: Topology, seconds: float = 2.5) -> None:
    """The CRMs answer with errors, half answers and nonsense."""
    for crm in topology.people.crms.values():
        faults = crm.tenant.faults
        faults.clear()
        for mishap in (refused(500), refused(503), lost_answer(), truncated(), html(), rate_limited("1")):
            faults.sometimes(0.12, mishap)
    time.sleep(seconds)
    topology.people.recover()


def source_hangs(topology: Topology, connection: str) -> None:
    """One CRM takes requests and is in no hurry to answer them; until the people's APIs recover."""
    faults = topology.people.crms[connection].tenant.faults
    faults.clear()
    faults.sometimes(1.0, slow(25.0))
