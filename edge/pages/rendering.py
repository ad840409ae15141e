"""Rendering: a template with its values becomes a page, everything in it escaped, and a fault becomes one as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from connectors.faults import Fault
from edge.telling import Told, plainly, telling_of
from edge.words import expectation, left, moment, money, shown, sums
from ledger.port import LedgerFault
from mappings.language import MappingError
from pipeline.faults import PipelineFault
from pipeline.redaction import escaped

TEMPLATES = Path(__file__).parent.parent / "templates"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""A page loads our one style sheet and nothing else, runs no script, and is shown in no frame."""

DONE = {
    "asked": "Asked for. Whoever does the schedule begins at its next look: dealsync up, or the workers.",
    "paused": "Paused. Nothing more is read by schedule or by webhook.",
    "resumed": "Resumed. What fell due meanwhile is done once.",
    "retried": "Tried again. What could not be read is parked still.",
    "reopened": "Tried again: what waits for the ledger goes with the next publish.",
    "discarded": "Discarded.",
    "released": "Released. The events go to the ledger with the next publish.",
    "acknowledged": "Acknowledged. Neither store nor ledger was changed.",
    "planned": "Planned. Its chunks are looked at one by one; nothing lands.",
    "started": "Left to whoever works on backfills: dealsync up, or the workers.",
    "stopped": "Nothing more lands in it.",
}
"""What a page says after something was done, by the word in its address: an address puts no words in our mouth."""


def _plain(value: object) -> object:
    """Whatever a template shows: nothing as a dash, and no character that hides or reorders others."""
    if value is None:
        return "–"
    if isinstance(value, Markup):
        return value
    return escaped(value) if isinstance(value, str) else value


def _when(text: str | None) -> Markup:
    """A time to the second in UTC, for people and for machines."""
    if text is None:
        return Markup("never")
    return Markup('<time datetime="{}">{}</time>').format(text, moment(text))


def _lines(text: str) -> Markup:
    """A text of several lines, each of them plain."""
    return Markup("\n").join(escaped(line) for line in text.splitlines())


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"when": _when, "lines": _lines, "shown": shown, "left": left, "expectation": expectation}
    made.filters |= {"number": "{:,}".format, "query": urlencode}
    made.globals |= {"money": money, "sums": sums}
    return made


_templates = _environment()


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page for whoever is signed in, if anybody is."""
    session = getattr(request.state, "session", None)
    text = _templates.get_template(template).render(
        session=session, done=DONE.get(request.query_params.get("done", "")), path=request.url.path, **values
    )
    return HTMLResponse(text.encode("utf-8", errors="replace"), status, HEADERS)


def problem(request: Request, told: Told) -> Response:
    """A fault as a page."""
    return page(request, "problem.html", told.status, title="That did not work", told=told)


async def _fault(request: Request, error: Exception) -> Response:
    return problem(request, telling_of(error, acting=request.method == "POST"))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(request, plainly(error.status_code, str(error.detail)))


FAULTS: dict[Any, Any] = {HTTPException: _refused} | dict.fromkeys(
    (PipelineFault, Fault, LedgerFault, MappingError, Exception), _fault
)
"""How whatever a page raises is told: never as a traceback."""
