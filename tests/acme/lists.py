"""Acme's requests: a page of changes, one deal, and the users."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from connectors.acme.options import AcmeOptions
from connectors.envelopes import opened
from connectors.faults import Unintelligible
from connectors.pacing import Timing
from connectors.single_reads import GONE, askable, shown
from connectors.slicing import Sliced, Slicer
from connectors.source import Absent, Account, Entry, Found, Record
from connectors.transport import Answer, Ask, Transport, header_value


class Changes(NamedTuple):
    """A page of changes: its rows in the order of their numbers, the `last` number among them, the number of the newest
    change there is (`head`), and how many deals live (`count`)."""

    rows: Sliced
    last: int
    head: int
    count: int
    answer: Answer


class _Told(msgspec.Struct):
    head: int
    count: int


class _Row(msgspec.Struct):
    seq: int = 0
    deleted: bool = False


class _User(msgspec.Struct):
    id: str
    name: str
    email: str | None = None


class Lists:
    """The requests of one account."""

    def __init__(self, account: Account, options: AcmeOptions, timing: Timing | None = None) -> None:
        token = header_value(account.credentials.get("token", ""), "token")
        hints = {401: "the token is not valid", 403: "the token lacks the right to read this; give it the role Reader"}
        self.options = options
        self.transport = Transport(account, {"Authorization": f"Bearer {token}"}, hints=hints, timing=timing)
        self._slicer = Slicer("deals", id_key="id", version_key="seq", counted=True)

    def changes(self, after: int) -> Changes:
        """The changes behind a number, the oldest first."""

        def read(answer: Answer) -> Changes:
            rows = self._slicer.page(opened(answer.body).rows("deals"), not_after=answer.trusted_until)
            try:
                told = msgspec.json.decode(answer.body, type=_Told)
            except msgspec.DecodeError:
                raise Unintelligible("the page does not say where the changes end") from None
            marks = [_row(record) for record in rows.records]
            records = [replace(record, deleted=mark.deleted) for record, mark in zip(rows.records, marks, strict=True)]
            last = max((mark.seq for mark in marks), default=after)
            return Changes(rows._replace(records=records), last, told.head, told.count, answer)

        params: dict[str, str | int] = {"after": after, "limit": self.options.page_size}
        return self.transport.ask(Ask(path="/v1/deals", params=params), read)

    def one(self, source_id: str) -> Found | Absent:
        """One deal: 404 and 410 prove that there is none, 400 and 403 prove nothing."""

        def read(answer: Answer) -> Found | Absent:
            return shown(answer, self._slicer, asked=source_id)

        return self.transport.ask(Ask(path=f"/v1/deals/{askable(source_id)}", accept=GONE | {400, 403}), read)

    def users(self) -> list[Entry]:
        """Everybody, in one answer."""

        def read(answer: Answer) -> list[Entry]:
            try:
                users = msgspec.json.decode(opened(answer.body).rows("users"), type=list[_User])
            except msgspec.DecodeError:
                raise Unintelligible("the users are not as the contract says") from None
            fields = ((user.id, {"name": user.name, "email": user.email}) for user in users)
            return [Entry(key, msgspec.json.encode(bearing)) for key, bearing in fields]

        return self.transport.ask(Ask(path="/v1/users"), read)


def _row(record: Record) -> _Row:
    try:
        return msgspec.json.decode(record.raw, type=_Row)
    except msgspec.DecodeError:
        return _Row()
