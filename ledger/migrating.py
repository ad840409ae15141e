"""Migrating: how a set of tables is brought to this version with Alembic; the ledger's and the store's alike.

A migration's file is named for its revision (`0001_the_store.py`), so whether anything is missing can be told from the
names alone. Alembic is imported only when something is: every command asks, and almost none has anything to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, MetaData, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config

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
                self._upgrade(connection)
        return [f"{self.name}: {line}" for line in missing]

    def missing(self, connection: Connection) -> list[str]:
        """The migrations that this database lacks, oldest first. Raises `ValueError` when it is ahead of this code."""
        known = self.revisions()
        present = self._present(connection)
        if present is not None and present not in known:
            raise ValueError(f"the {self.name} was migrated by a newer dealsync (to {present}): upgrade this one")
        return [f"{revision} {name}" for revision, name in known.items() if present is None or revision > present]

    def revisions(self) -> dict[str, str]:
        """The migrations there are, oldest first: revision and name, as their files are called."""
        package, folder = self.migrations.split(":")
        names = sorted(file.name for file in files(package).joinpath(folder, "versions").iterdir())
        found = (name.removesuffix(".py").split("_", 1) for name in names if name.endswith(".py"))
        return {revision: words.replace("_", " ") for revision, words in found}

    def _present(self, connection: Connection) -> str | None:
        if not inspect(connection).has_table(self.version_table):
            return None
        # The name is a constant of ours, not anybody's input.
        version = text(f"SELECT version_num FROM {self.version_table}")  # noqa: S608
        return connection.execute(version).scalar_one_or_none()

    def _upgrade(self, connection: Connection) -> None:
        from alembic import command

        config = self.config()
        config.attributes.update(connection=connection, schema=self)
        command.upgrade(config, "head")

    def config(self) -> Config:
        """Alembic's configuration of these migrations."""
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", self.migrations)
        return config


def run_in_env() -> None:
    """What every `migrations/env.py` does: run the migrations on the connection handed in."""
    from alembic import context

    connection: Connection = context.config.attributes["connection"]
    schema: Schema = context.config.attributes["schema"]
    context.configure(
        connection=connection, target_metadata=schema.metadata, version_table=schema.version_table, render_as_batch=True
    )
    context.run_migrations()
