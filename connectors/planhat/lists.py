"""Planhat's read requests: pages of a list of deals or opportunities, and one of them."""

from __future__ import annotations

import base64
from typing import NamedTuple

from connectors.pacing import Timing
from connectors.paging import Fetched
from connectors.planhat.cursor import Kind
from connectors.planhat.options import PlanhatOptions
from connectors.single_reads import GONE, askable, shown
from connectors.slicing import Sliced, Slicer
from connectors.source import Absent, Account, Found
from connectors.transport import Answer, Ask, Transport, base_url, header_value

KINDS: tuple[Kind, ...] = ("deals", "opportunities")
_PROBED = 50
_NEEDED = frozenset({"_id", "updatedAt"})
_PREFIXES = ("extid-", "srcid-")


class Probe(NamedTuple):
    """The newest records of a list, or the status of a refusal (403, 404) in their place."""

    answer: Answer
    rows: Sliced

    @property
    def has_rows(self) -> bool:
        """Whether the list was seen to hold anything."""
        return bool(self.rows.keys)


class Lists:
    """The requests of one account, over a transport that already knows its credentials."""

    def __init__(self, account: Account, options: PlanhatOptions, timing: Timing | None = None) -> None:
        self.transport = connect(account, options, timing)
        self.options = options
        self.known = account.known
        self._fields = account.fields
        self._slicers = {kind: Slicer(kind, id_key="_id", version_key="updatedAt") for kind in KINDS}

    def claimed(self, kind: Kind) -> frozenset[str]:
        """The record keys that the mapping reads, and the two that we need."""
        fields = self._fields.get(kind, frozenset())
        return fields | _NEEDED if fields else fields

    def page(self, kind: Kind, sort: str, offset: int, limit: int) -> Fetched:
        """One page of a list: a bare array of at most `limit` rows (section 4 of the contract)."""
        params: dict[str, str | int] = {"limit": limit, "offset": offset, "sort": sort}
        if self.options.select and (claimed := self.claimed(kind)):
            params["select"] = ",".join(sorted(claimed))
        slicer = self._slicers[kind]

        def read(answer: Answer) -> Fetched:
            return Fetched(slicer.page(answer.body, not_after=answer.trusted_until), answer.requested_at)

        return self.transport.ask(Ask(path=f"/{kind}", params=params), read)

    def probe(self, kind: Kind, *, accept: frozenset[int] = frozenset()) -> Probe:
        """Look at the newest rows of a list. An accepted status counts as no rows."""
        slicer = self._slicers[kind]

        def read(answer: Answer) -> Probe:
            if answer.status != 200:
                return Probe(answer, Sliced([], [], []))
            return Probe(answer, slicer.page(answer.body, not_after=answer.trusted_until))

        params: dict[str, str | int] = {"limit": _PROBED, "offset": 0, "sort": "-updatedAt"}
        if self.options.select:
            params["select"] = ",".join(sorted(_NEEDED))
        return self.transport.ask(Ask(path=f"/{kind}", params=params, accept=accept), read)

    def one(self, kind: Kind, key: str) -> Found | Absent:
        """One record by `_id`, `extid-<external id>` or `srcid-<source id>` (section 5 of the contract).

        An unknown id is answered 404, and by assumption 400, `null` or `{}`; a record that the token may not see, 403.
        Only 404 and 410 prove anything.
        """
        prefix = next((prefix for prefix in _PREFIXES if key.startswith(prefix)), "")
        path = f"/{kind}/{prefix}{askable(key.removeprefix(prefix))}"

        def read(answer: Answer) -> Found | Absent:
            if answer.status == 200 and answer.body.strip() in (b"null", b"{}"):
                return Absent(False, f"200 with {answer.body.strip().decode()}", answer.requested_at)
            return shown(answer, self._slicers[kind], asked=None if prefix else key)

        return self.transport.ask(Ask(path=path, accept=GONE | {400, 403}), read)


def connect(account: Account, options: PlanhatOptions, timing: Timing | None = None) -> Transport:
    """The transport of an account, with its credentials and with what Planhat's refusals may mean.

    Raises `Misconfigured` for a base URL or a token that cannot work.
    """
    token = header_value(account.credentials.get("token", ""), "token")
    if options.auth == "basic":
        authorization = "Basic " + base64.b64encode(f"{token}:".encode()).decode("ascii")
    else:
        authorization = f"Bearer {token}"
    host = base_url(account.base_url).host
    hints = {
        401: f"the token is not valid at {host}. A good token at the wrong cluster looks just the same: when the app "
        "runs at app-us3.planhat.com, base_url must be https://api-us3.planhat.com",
        403: "the Private App of this token lacks the read permission; edit its permissions in Planhat",
        404: f"{host} has no such list; check base_url and revenue_model",
    }
    return Transport(account, {"Authorization": authorization}, hints=hints, timing=timing)
