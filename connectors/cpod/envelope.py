"""cPod's envelope: its documentation shows three, so what a list looks like is found out once and then kept to."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from connectors.cpod.options import CpodOptions
from connectors.envelopes import opened
from connectors.faults import Unintelligible

Style: TypeAlias = Literal["cursor", "page"]

_ROWS = ("data", "items")
_NEXT = ("next_cursor", "nextCursor")
_MORE = ("has_more", "hasMore")
_TOTAL = ("total", "total_count", "totalCount")


class Shape(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the pages of a connection look like; a name is None while no page has shown it."""

    rows: str
    style: Style | None = None
    next: str | None = None
    more: str | None = None

    @property
    def camel(self) -> bool:
        """Whether the envelope's own keys are in camelCase."""
        return self.next == "nextCursor" or self.more == "hasMore"

    @property
    def word(self) -> str:
        """The word of the option `envelope` for this shape."""
        return f"{self.rows}/{'camel' if self.camel else 'snake'}"


class Envelope(NamedTuple):
    """One page, opened: the bytes of its rows, and what it says of the pages to come.

    `told` is whether it says anything of them: a key that only the last page leaves out looks just like another API.
    """

    rows: bytes
    shape: Shape
    next: str | None
    more: bool | None
    total: int | None
    told: bool


def read(body: bytes, known: Shape | None, options: CpodOptions) -> Envelope:
    """Open a page. What it looks like must agree with the shape that is known already, and adds to it.

    Raises `Unintelligible` for what is no envelope, and for one that differs from those before: another generation of
    the API may page, and mean, something else.
    """
    parts = opened(body).parts
    there = [name for name in _ROWS if name in parts]
    if not there:
        raise Unintelligible("the answer has neither data nor items; a page of a list was expected")
    shape = Shape(there[0], next=_present(parts, _NEXT), more=_present(parts, _MORE))
    told = shape.next is not None or shape.more is not None
    cursor, more = _cursor(parts, shape.next), _flag(parts, shape.more)
    shape = msgspec.structs.replace(shape, style=_style(shape, cursor, more, options))
    _keeps(shape, cursor, more, _settled(known, options), options)
    if known is not None and options.envelope in ("auto", known.word):
        style = known.style if options.pagination_style == "auto" else None
        shape = Shape(shape.rows, style or shape.style, shape.next or known.next, shape.more or known.more)
    return Envelope(parts[shape.rows], shape, cursor, more, _total(parts), told)


def _style(shape: Shape, cursor: str | None, more: bool | None, options: CpodOptions) -> Style | None:
    if options.pagination_style != "auto":
        return options.pagination_style
    if cursor is not None or (shape.next is not None and not more):
        return "cursor"
    if more or (shape.more is None and shape.next is None):
        return "page"
    return None


def _settled(known: Shape | None, options: CpodOptions) -> Shape | None:
    """What pages have to look like: a setting outweighs what was found out."""
    if options.envelope == "auto" or (known is not None and known.word == options.envelope):
        return known
    rows, casing = options.envelope.split("/")
    place = 0 if casing == "snake" else 1
    return Shape(rows, next=_NEXT[place], more=_MORE[place])


def _keeps(shape: Shape, cursor: str | None, more: bool | None, known: Shape | None, options: CpodOptions) -> None:
    if known is None:
        return
    pairs = (
        (known.rows, shape.rows, "the rows lie"),
        (known.next, shape.next, "the next cursor lies"),
        (known.more, shape.more, "the mark of more rows lies"),
    )
    for before, now, what in pairs:
        if None not in (before, now) and before != now:
            raise Unintelligible(_changed(f"{what} under {now!r}, and lay under {before!r} before", shape))
    if options.pagination_style != "auto" or known.style is None:
        return
    if known.style == "cursor" and cursor is None and more:
        raise Unintelligible(_changed("pages had cursors before, and this one has none", shape))
    if known.style == "page" and cursor is not None:
        raise Unintelligible(_changed("pages were numbered before, and this one has a cursor", shape))


def _changed(what: str, shape: Shape) -> str:
    return (
        f"cPod's lists have changed: {what}. Nothing of this page was read. When cPod has moved this tenant to another "
        f"generation of its API, look at the deals with `dealsync check`, then set the options "
        f'envelope = "{shape.word}" and pagination_style = "{shape.style or "cursor"}"'
    )


def _present(parts: dict[str, bytes], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in parts), None)


def _cursor(parts: dict[str, bytes], name: str | None) -> str | None:
    value = _value(parts, name)
    if value is None or value == "" or isinstance(value, bool):
        return None
    if isinstance(value, str | int):
        return str(value)
    raise Unintelligible("the cursor of the next page is no text")


def _flag(parts: dict[str, bytes], name: str | None) -> bool | None:
    value = _value(parts, name)
    return value if isinstance(value, bool) else None


def _total(parts: dict[str, bytes]) -> int | None:
    value = _value(parts, _present(parts, _TOTAL))
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _value(parts: dict[str, bytes], name: str | None) -> Any:
    if name is None:
        return None
    try:
        return msgspec.json.decode(parts[name])
    except (msgspec.DecodeError, RecursionError):
        raise Unintelligible(f"{name} of the page is not JSON") from None
