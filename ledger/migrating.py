"""Migrating: how a set of tables is brought to this version with Alembic; the ledger's and the store's alike."""

from __future__ import annotations

from dataclasses import dataclass

from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text

LOCK_TIMEOUT = "4s"
"""A migration that cannot get its lock gives up, instead of queueing every writer behind it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A set of tables with its migrations: their package (`ledger:migrations`) and their own version table."""

    name: str
    migrations: str
    version_table: str
    metadata: MetaData

    def migrate(self, engine: Engine) -> list[str]:
        """Apply what is missing, in one transaction; one line for each migration applied."""
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": self.version_table})
            missing = self.missing(connection)
            if missing:
                config = self._config()
                config.attributes.update(connection=connection, schema=self)
                command.upgrade(config, "head")
        return [f"{self.name}: {line}" for line in missing]

    def missing(self, connection: Connection) -> list[str]:
        """The migrations that this database lacks, oldest first. Raises `ValueError` when it is ahead of this code."""
        scripts = ScriptDirectory.from_config(self._config())
        options = {"version_table": self.version_table}
        present = MigrationContext.configure(connection, opts=options).get_current_revision()
        known = list(scripts.walk_revisions())
        if present is not None and present not in {script.revision for script in known}:
            raise ValueError(f"the {self.name} was migrated by a newer dealsync (to {present}): upgrade this one")
        newer = []
        for script in known:
            if script.revision == present:
                break
            newer.append(f"{script.revision} {script.doc}")
        return newer[::-1]

    def _config(self) -> Config:
        config = Config()
        config.set_main_option("script_location", self.migrations)
        return config


def run_in_env() -> None:
    """What every `migrations/env.py` does: run the migrations on the connection handed in."""
    connection: Connection = context.config.attributes["connection"]
    schema: Schema = context.config.attributes["schema"]
    context.configure(
        connection=connection, target_metadata=schema.metadata, version_table=schema.version_table, render_as_batch=True
    )
    context.run_migrations()
