"""Monaco's read requests: pages of a list, one opportunity, and schemas, wherever a redirect has them now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import httpx
import msgspec

from connectors.envelopes import Opened, opened
from connectors.faults import Unintelligible
from connectors.monaco.budget import Budget
from connectors.monaco.options import MonacoOptions
from connectors.monaco.schema import Schema
from connectors.pacing import Timing
from connectors.single_reads import GONE, askable, shown
from connectors.slicing import Sliced, Slicer
from connectors.source import Absent, Account, Found
from connectors.times import instant
from connectors.transport import Answer, Ask, Transport, base_url, header_value

KIND = "opportunities"
OLDEST_FIRST = "created_at"
_REDIRECTS = frozenset({307, 308})
_MOST_REDIRECTS = 3
_SINGULAR = {KIND: "opportunity", "accounts": "account"}
T = TypeVar("T")


class NotOffered(Exception):
    """The organization does not filter or sort as it was asked to (422)."""


class Which(NamedTuple):
    """Which rows of a list: in the order of `sort`, those that meet the filter rules (all, if there are none)."""

    sort: str = OLDEST_FIRST
    filters: Sequence[Mapping[str, str]] = ()


class Listed(NamedTuple):
    """One page of a list: its rows from position `start` on, and how many the whole list has, as told with it.

    `size` is the page size that was really used. `told_at` is Monaco's own time, where it tells.
    """

    rows: Sliced
    start: int
    size: int
    total: int
    answer: Answer
    told_at: str | None

    @property
    def began(self) -> str:
        """The time just before the request, by the earlier of the database's clock and Monaco's."""
        return min(self.answer.requested_at, self.told_at or self.answer.requested_at)


class _Form(NamedTuple):
    """How a path is written: what stands before it, and whether a slash ends it."""

    prefix: str
    slash: str


class _Pagination(msgspec.Struct):
    page: int
    page_size: int
    total_count: int


class _Meta(msgspec.Struct):
    timestamp: str | None = None


class Lists:
    """The requests of one account, over a transport that already knows its credentials."""

    def __init__(self, account: Account, options: MonacoOptions, timing: Timing | None = None) -> None:
        self.options = options
        self.transport = connect(account, options, timing)
        self._base = base_url(account.base_url)
        self._forms: dict[str, _Form] = {}
        slicers = (Slicer(kind, id_key="id", version_key="updated_at") for kind in (KIND, "accounts"))
        self._slicers = dict(zip((KIND, "accounts"), slicers, strict=True))

    def page(self, which: Which, number: int, size: int, *, entity: str = KIND) -> Listed:
        """One page of a list (section 3). Raises `NotOffered` when filters, or another sort than usual, are refused."""
        slicer = self._slicers[entity]

        def read(answer: Answer) -> Listed | None:
            if answer.status == 422:
                return None
            envelope = opened(answer.body)
            told = _pagination(envelope, number, size)
            told_at = _timestamp(envelope) or answer.source_time
            rows = slicer.page(envelope.rows("data"), not_after=answer.trusted_until)
            return Listed(rows, (told.page - 1) * told.page_size, told.page_size, told.total_count, answer, told_at)

        body = {"filters": list(which.filters), "sort": which.sort, "page": number, "page_size": size}
        accept = frozenset() if which == Which() else frozenset({422})
        path = f"/{entity}/list"
        listed = self._ask(path, Ask(path=path, method="POST", json=body, accept=accept), read)
        if listed is None:
            raise NotOffered(which.sort if not which.filters else which.filters[0]["field"])
        return listed

    def one(self, source_id: str) -> Found | Absent:
        """One opportunity by its id (section 4): 404 and 410 prove absence, 403 and 422 do not."""

        def read(answer: Answer) -> Found | Absent:
            return shown(answer, self._slicers[KIND], asked=source_id, raw=lambda body: opened(body).rows("data"))

        path = f"/{KIND}/{askable(source_id)}"
        return self._ask(f"/{KIND}/*", Ask(path=path, accept=GONE | {403, 422}), read)

    def schema(self, entity: str = KIND, *, hidden: frozenset[int] = frozenset({403})) -> Schema | None:
        """The schema of an entity, under its plural name or its singular one; None when there is none to be read.

        A status that is `hidden` counts as none. Raises `Denied` for a 403 that is not.
        """

        def read(answer: Answer) -> Schema | None:
            return Schema.read(answer.body) if answer.status == 200 else None

        accept = GONE | {422} | hidden
        for name in (entity, _SINGULAR[entity]):
            path = f"/schemas/{name}"
            if (schema := self._ask(path, Ask(path=path, accept=accept), read)) is not None:
                return schema
        return None

    # -- redirects

    def _ask(self, route: str, what: Ask, read: Callable[[Answer], T]) -> T:
        """Ask for a path below the prefix, and follow redirects of the same host with the key and the body.

        The two generations of paths, and the two forms of the slash, answer 307 for each other (section 5). Where a
        `route` has moved to is remembered, so that a redirect is paid for once.
        """

        def answered(answer: Answer) -> T | _Form:
            return self._followed(what.path, form, answer) if answer.status in _REDIRECTS else read(answer)

        form = self._forms.get(route, _Form(self.options.path_prefix, ""))
        for _ in range(_MOST_REDIRECTS):
            path = f"{form.prefix}{what.path}{form.slash}"
            result = self.transport.ask(replace(what, path=path, accept=what.accept | _REDIRECTS), answered)
            if not isinstance(result, _Form):
                return result
            form = self._forms[route] = result
        raise Unintelligible(f"{self.transport.host} redirects in a circle; correct base_url or path_prefix")

    def _followed(self, tail: str, form: _Form, answer: Answer) -> _Form:
        """The form of the path that a redirect leads to. Raises `Unintelligible` for another host or another thing."""
        root = self._base.raw_path.decode("ascii").rstrip("/")
        here = self._base.copy_with(raw_path=f"{root}{form.prefix}{tail}{form.slash}".encode("ascii"))
        try:
            target = here.join(answer.headers.get("location", ""))
        except httpx.InvalidURL:
            raise Unintelligible("a redirect leads nowhere; correct base_url") from None
        path = target.raw_path.decode("ascii")
        same = (target.scheme, target.host, target.port) == (here.scheme, here.host, here.port)
        if not same or not path.startswith(f"{root}/") or not path.rstrip("/").endswith(tail):
            raise Unintelligible(
                "a redirect leads away from what was asked for, where the key must not be sent; correct base_url"
            )
        bare = path.rstrip("/")
        return _Form(bare.removesuffix(tail).removeprefix(root), path[len(bare) :])


def connect(account: Account, options: MonacoOptions, timing: Timing | None) -> Transport:
    """The transport of an account: its key in the header it is configured for.

    Raises `Misconfigured` for a base URL or a key that cannot work.
    """
    token = header_value(account.credentials.get("token", ""), "token")
    if options.auth_header_style == "bearer":
        headers = {"Authorization": f"Bearer {token}"}
    else:
        headers = {"x-monaco-api-key": token}
    hints = {
        401: "the key is not known. Make one in Monaco under Settings > API Keys, or set auth_header_style",
        403: "the user this key acts for may not read this; use a key of an admin",
        422: "it has to sort by created_at in pages of page_size; see that page_size is at most 500",
        404: "there is no such path; check base_url and path_prefix",
    }
    return Transport(account, headers, hints=hints, timing=timing, told=Budget(options.reserve))


def _pagination(envelope: Opened, number: int, size: int) -> _Pagination:
    try:
        told = msgspec.json.decode(envelope.rows("pagination"), type=_Pagination)
    except msgspec.DecodeError:
        raise Unintelligible("the answer's pagination is not as its contract says") from None
    if told.page != number or not 0 < told.page_size <= size or told.total_count < 0:
        raise Unintelligible(f"page {number} of {size} rows was asked for, and another one came")
    return told


def _timestamp(envelope: Opened) -> str | None:
    try:
        return instant(msgspec.json.decode(envelope.parts.get("meta", b"{}"), type=_Meta).timestamp)
    except msgspec.DecodeError:
        return None
