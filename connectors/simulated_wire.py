"""The simulated wire: requests and answers as values, and the mishaps that can befall an exchange."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it reached the simulated server.

    `path` is percent-encoded as it was sent; `headers` have lower-case names; of a repeated query parameter the last
    one counts.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def to(cls, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Request:
        """A request for a target such as `/deals?limit=2`."""
        path, _, query = target.partition("?")
        return cls(
            method=method.upper(),
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
        )

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path, decoded after the split, so that an encoded slash stays inside its part."""
        return tuple(unquote(part) for part in self.path.removeprefix("/").split("/"))

    @property
    def host(self) -> str:
        """The host the client believes it talks to, without its port."""
        return self.headers.get("host", "").partition(":")[0].lower()


Cut: TypeAlias = Literal["connect", "answer", "body"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the simulated server sends back.

    `delay_s` seconds pass before the first byte. `cut` breaks the connection: before the request was taken
    (`connect`), before the answer's first byte (`answer`), or half way through its body (`body`). An `endless` body
    repeats its last byte for ever.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: Cut | None = None
    endless: bool = False


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer whose body is `value` as JSON; decimals become plain JSON numbers."""
    return Answer(status=status, body=_encode(value), headers={"content-type": JSON, **(headers or {})})


def bytes_answer(body: bytes, status: int = 200, content_type: str = JSON) -> Answer:
    """An answer with exactly this body."""
    return Answer(status=status, body=body, headers={"content-type": content_type})


Handler: TypeAlias = Callable[[Request], Answer]
"""The server without mishap: a request becomes an honest answer, and a write takes effect."""

Mishap: TypeAlias = Callable[[Request, Handler], Answer]
"""What happens instead. Whether it calls the handler decides whether a write took effect."""


def refused(status: int, headers: Mapping[str, str] | None = None) -> Mishap:
    """The request is turned away with this status and nothing happens: 500, 503, 401, 429 without headers."""
    return _instead(json_answer({"error": f"simulated {status}"}, status, headers))


def rate_limited(retry_after: str | None = None, headers: Mapping[str, str] | None = None) -> Mishap:
    """429; `retry_after` is sent as it is given (seconds, an HTTP date, nonsense), or not at all."""
    return refused(429, {**({} if retry_after is None else {"retry-after": retry_after}), **(headers or {})})


def saying(body: bytes, *, status: int = 200, content_type: str = JSON) -> Mishap:
    """The request is answered with exactly this body and nothing happens: an empty page too early, NaN, nonsense."""
    return _instead(bytes_answer(body, status, content_type))


def html(status: int = 200) -> Mishap:
    """A page for people where JSON was due, as proxies and maintenance screens send it."""
    page = b"<!DOCTYPE html><html><body><h1>We'll be back soon</h1></body></html>"
    return saying(page, status=status, content_type="text/html")


def reset() -> Mishap:
    """The connection is cut before the server took the request."""
    return _instead(Answer(cut="connect"))


def lost_answer() -> Mishap:
    """The server does its work, then the connection is cut: the client cannot know."""
    return lambda request, handle: replace(handle(request), cut="answer")


def overtaken(status: int = 504) -> Mishap:
    """The server does its work, but a gateway had given up before and answers in its place."""

    def mishap(request: Request, handle: Handler) -> Answer:
        handle(request)
        return bytes_answer(b"<html><body>upstream request timeout</body></html>", status, "text/html")

    return mishap


def slow(seconds: float) -> Mishap:
    """The honest answer, late."""
    return lambda request, handle: replace(handle(request), delay_s=seconds)


def truncated() -> Mishap:
    """Half of the honest body, then the connection is cut although more was announced."""
    return lambda request, handle: replace(handle(request), cut="body")


def cut_json() -> Mishap:
    """Half of the honest body, announced as the whole: only a JSON parser can tell."""

    def mishap(request: Request, handle: Handler) -> Answer:
        answer = handle(request)
        return replace(answer, body=answer.body[: len(answer.body) // 2])

    return mishap


def endless() -> Mishap:
    """A body that never ends."""
    return _instead(Answer(body=b"[ ", headers={"content-type": JSON}, endless=True))


def gzip_bomb(size: int = 128 << 20) -> Mishap:
    """A small compressed body that becomes `size` bytes of valid JSON."""
    return _instead(Answer(body=_bomb(size), headers={"content-type": JSON, "content-encoding": "gzip"}))


def anything(_request: Request) -> bool:
    """Every request."""
    return True


def _instead(answer: Answer) -> Mishap:
    def mishap(_request: Request, _handle: Handler) -> Answer:
        return answer

    return mishap


class Faults:
    """The script of mishaps: which request meets which one.

    A request number that was named goes first, then the queue, then chance. Chance is drawn from the seed, so the same
    calls meet the same mishaps.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._queue: deque[Mishap] = deque()
        self._numbered: dict[int, Mishap] = {}
        self._chances: list[tuple[float, Mishap, Callable[[Request], bool]]] = []

    def next(self, *mishaps: Mishap, times: int = 1) -> None:
        """The coming requests meet these mishaps in turn, the whole list `times` over."""
        self._queue.extend(mishaps * times)

    def at(self, number: int, mishap: Mishap) -> None:
        """The request with this number (from 1, counted since the simulator was made) meets the mishap."""
        self._numbered[number] = mishap

    def sometimes(self, probability: float, mishap: Mishap, where: Callable[[Request], bool] = anything) -> None:
        """Each request that `where` picks meets the mishap with this probability; 1.0 is always."""
        self._chances.append((probability, mishap, where))

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        self._queue.clear()
        self._numbered.clear()
        self._chances.clear()

    def pick(self, number: int, request: Request) -> Mishap | None:
        """The mishap of this request, if any."""
        if number in self._numbered:
            return self._numbered.pop(number)
        if self._queue:
            return self._queue.popleft()
        for probability, mishap, where in self._chances:
            if where(request) and self._random.random() < probability:
                return mishap
        return None


@cache
def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    step = bytes(1 << 20).replace(b"\0", b" ")
    parts = [packer.compress(b"[")]
    parts += [packer.compress(step[: min(len(step), size - done)]) for done in range(0, size, len(step))]
    return b"".join((*parts, packer.compress(b"]"), packer.flush()))


_encode = msgspec.json.Encoder(decimal_format="number").encode
