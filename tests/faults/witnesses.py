"""Witnesses: the database itself writes down where each checkpoint was moved to, and what had landed by then.

Triggers of the tests' own, in PostgreSQL: SQLite has no number of a transaction that a trigger could note.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg

from tests.faults.backing import eventually
from tests.faults.topology import DATABASE, Topology

_CALLED = """\
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
_SAID = {
    "places": "SELECT at, c.name AS connection, stream, run_id, cursor, EXISTS (SELECT 1 FROM witness_counts n "
    "WHERE n.tx = p.tx AND n.run_id = p.run_id) AS landed FROM witness_places p "
    "JOIN connections c ON c.id = connection_id ORDER BY at",
    "landings": "SELECT at, c.name AS connection, source_id, version FROM witness_landings "
    "JOIN connections c ON c.id = connection_id ORDER BY at",
}


def call(topology: Topology) -> None:
    """From now on every place of a checkpoint, every version of a deal that lands or is parked, and every writing of a
    run's row are noted in the transaction that does so: what is rolled back never was.
    """
    eventually(lambda: _called(topology), "nobody holds the tables for a moment")
    topology.witnesses |= _SAID


def _called(topology: Topology) -> bool:
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        with topology.postgres.admin(DATABASE) as admin:
            admin.execute(_CALLED)
        return True
    return False
