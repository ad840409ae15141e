"""Joins: when rows of two tables are of one deal, and when they are of one event of it."""

from __future__ import annotations

from sqlalchemy import and_
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause


def same_deal(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Whether two rows are of one deal: tables that name it do so by its connection and by its id at the source."""
    return and_(one.c.connection_id == other.c.connection_id, one.c.source_id == other.c.source_id)


def same_event(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Whether two rows are of one event, which is one revision of its deal."""
    return and_(same_deal(one, other), one.c.revision == other.c.revision)
