"""Witnesses: the database itself writes down where each checkpoint was moved to, and what had landed by then.

They are triggers of the tests' own. In PostgreSQL they note the number of their transaction. SQLite has no such number;
there a place is noted as the child of a count that its run has yet to make, by a foreign key that is looked at when the
transaction is committed: a checkpoint that moves without one in its own transaction cannot be committed at all.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg
from sqlalchemy import Engine

from ledger.engine import connect
from tests.faults.topology import DATABASE, Topology
from tests.waiting import eventually

_ON_POSTGRES = """\
BEGIN;
SET LOCAL lock_timeout = '200ms';
CREATE SEQUENCE witness_order;
CREATE TABLE witness_places (at bigint DEFAULT nextval('witness_order'), tx xid8 DEFAULT pg_current_xact_id(),
  connection_id int, stream text, run_id bigint, cursor text);
CREATE TABLE witness_landings (at bigint DEFAULT nextval('witness_order'),
  connection_id int, source_id text, version text);
CREATE TABLE witness_counts (tx xid8 DEFAULT pg_current_xact_id(), run_id bigint);

CREATE FUNCTION witness_place() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness_places (connection_id, stream, run_id, cursor)
    VALUES (NEW.connection_id, NEW.stream, NEW.run_id, NEW.cursor);
  RETURN NEW;
END $$;
CREATE FUNCTION witness_landing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness_landings (connection_id, source_id, version)
    VALUES (NEW.connection_id, NEW.source_id, NEW.version);
  RETURN NEW;
END $$;
CREATE FUNCTION witness_count() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness_counts (run_id) VALUES (NEW.id);
  RETURN NEW;
END $$;
CREATE TRIGGER witness_place AFTER INSERT OR UPDATE ON checkpoints FOR EACH ROW EXECUTE FUNCTION witness_place();
CREATE TRIGGER witness_deal AFTER INSERT OR UPDATE ON deals FOR EACH ROW EXECUTE FUNCTION witness_landing();
CREATE TRIGGER witness_parked AFTER INSERT OR UPDATE ON parked FOR EACH ROW EXECUTE FUNCTION witness_landing();
CREATE TRIGGER witness_count AFTER UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION witness_count();

INSERT INTO witness_landings (connection_id, source_id, version)
  SELECT connection_id, source_id, version FROM deals UNION ALL SELECT connection_id, source_id, version FROM parked;
COMMIT;
"""
_BY_POSTGRES = {
    "places": "SELECT at, c.name AS connection, stream, run_id, cursor, EXISTS (SELECT 1 FROM witness_counts n "
    "WHERE n.tx = p.tx AND n.run_id = p.run_id) AS landed FROM witness_places p "
    "JOIN connections c ON c.id = connection_id ORDER BY at",
    "landings": "SELECT at, c.name AS connection, source_id, version FROM witness_landings "
    "JOIN connections c ON c.id = connection_id ORDER BY at",
}


_LANDED = "INSERT INTO witnessed (what, connection_id, source_id, version)"
_ON_SQLITE = (
    "CREATE TABLE witness_counts (run_id int, number int, PRIMARY KEY (run_id, number))",
    "CREATE TABLE witnessed (at integer PRIMARY KEY AUTOINCREMENT, what text, connection_id int, stream text, "
    "run_id int, cursor text, number int, source_id text, version text, FOREIGN KEY (run_id, number) "
    "REFERENCES witness_counts (run_id, number) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE witness_runs (run_id int, kind text)",
    "CREATE TRIGGER witness_risen AFTER UPDATE ON runs "
    "WHEN OLD.state = 'abandoned' AND (NEW.state = 'done' OR NEW.read <> OLD.read) "
    "BEGIN INSERT INTO witness_runs VALUES (NEW.id, NEW.kind); END",
    "CREATE TRIGGER witness_count AFTER UPDATE ON runs BEGIN INSERT INTO witness_counts "
    "SELECT NEW.id, coalesce(max(number), 0) + 1 FROM witness_counts WHERE run_id = NEW.id; END",
    f"{_LANDED} SELECT 'landing', connection_id, source_id, version FROM deals",
    f"{_LANDED} SELECT 'landing', connection_id, source_id, version FROM parked",
)
_NOTED_ON_SQLITE = {
    "checkpoints": "INSERT INTO witnessed (what, connection_id, stream, run_id, cursor, number) "
    "SELECT 'place', NEW.connection_id, NEW.stream, NEW.run_id, NEW.cursor, coalesce(max(number), 0) + 1 "
    "FROM witness_counts WHERE run_id = NEW.run_id",
    "deals": f"{_LANDED} VALUES ('landing', NEW.connection_id, NEW.source_id, NEW.version)",
    "parked": f"{_LANDED} VALUES ('landing', NEW.connection_id, NEW.source_id, NEW.version)",
}
"""What is noted whenever a row of these tables is inserted or updated."""

BY_SQLITE = {
    "places": "SELECT at, c.name AS connection, stream, run_id, cursor, EXISTS (SELECT 1 FROM witness_counts n "
    "WHERE n.run_id = p.run_id AND n.number = p.number) AS landed FROM witnessed p "
    "JOIN connections c ON c.id = connection_id WHERE what = 'place' ORDER BY at",
    "landings": "SELECT at, c.name AS connection, source_id, version FROM witnessed "
    "JOIN connections c ON c.id = connection_id WHERE what = 'landing' ORDER BY at",
    "moves": "SELECT connection_id, stream, run_id FROM witnessed WHERE what = 'place' ORDER BY at",
    "risen": "SELECT run_id, kind FROM witness_runs",
}
"""What SQLite's witnesses say, of fencing tokens (11) too."""


def call(topology: Topology) -> None:
    """From now on every place of a checkpoint, every version of a deal that lands or is parked, and every writing of a
    run's row are noted in the transaction that does so: what is rolled back never was.
    """
    if topology.on_postgres:
        eventually(lambda: _called(topology), "nobody holds the tables for a moment")
        topology.witnesses |= _BY_POSTGRES
        return
    engine = connect(topology.store_url)
    call_on_sqlite(engine)
    engine.dispose()
    topology.witnesses |= BY_SQLITE


def call_on_sqlite(engine: Engine) -> None:
    """The same for a store in SQLite, in one transaction."""
    with engine.begin() as tx:
        for statement in _ON_SQLITE:
            tx.exec_driver_sql(statement)
        for table, noted in _NOTED_ON_SQLITE.items():
            for event in ("INSERT", "UPDATE"):
                name = f"witness_{table}_{event.lower()}"
                tx.exec_driver_sql(f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {noted}; END")


def _called(topology: Topology) -> bool:
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        with topology.postgres.admin(DATABASE) as admin:
            admin.execute(_ON_POSTGRES)
        return True
    return False
