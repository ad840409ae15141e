"""Redaction: what must never be read in a log line, a page or an error, and how it is taken out of them."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from math import isfinite
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "[secret]"
SHORTEST = 4
"""A shorter secret is hidden under its key only: hiding it wherever it occurs would shred every line."""
LONGEST = 100_000
"""A text beyond this many characters is not searched but left out altogether."""
CAP = 1024
"""Characters of a value that a log line keeps."""
MOST = 100
"""Items of a list or a table that a log line keeps."""

_TELLING = ("authorization", "password", "passwd", "secret", "token", "apikey", "cookie", "credential", "privatekey")
_USERINFO = re.compile(r"(://)[^\s/?#\"']*@")
_ASSIGNED = re.compile(r"((?:token|secret|password|passwd|api[_-]?key|signature)=)(?!\[secret\])[^\s&\"',;)]+", re.I)
_HEADER = re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?)(?!\[secret\])(?:(?:basic|bearer)\s+)?[^\s\"',}]+", re.I)
_BEARER = re.compile(r"\b(bearer\s+)(?!\[secret\])[\w.~+/=-]{8,}", re.I)
_PERCENT = re.compile("%[0-9A-F]{2}")
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class _Guarded:
    """The live secrets and one pattern that finds any of them, in any of the forms they are sent in."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._lock = threading.Lock()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        with self._lock:
            if not (new := _forms(secret) - self._forms):
                return
            self._forms |= new
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(_PERCENT.sub(_either_case, re.escape(form)) for form in longest_first))

    def scrub(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern is not None else text


_guarded = _Guarded()


def guard(secret: str) -> None:
    """From now on `secret` is taken out of everything that passes `scrub`, raw or encoded."""
    if len(secret) >= SHORTEST:
        _guarded.add(secret)


def scrub(text: str) -> str:
    """`text` without live secrets, without the user part of URLs, without what is named a token or a password."""
    if len(text) > LONGEST:
        return f"[a text of {len(text)} characters]"
    text = _guarded.scrub(text)
    text = _USERINFO.sub(r"\1", text)
    for telling in (_ASSIGNED, _HEADER, _BEARER):
        text = telling.sub(rf"\1{HIDDEN}", text)
    return text


def escaped(text: str) -> str:
    """`text` with what would move a terminal's cursor or hide characters written out as an escape."""
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def clean(value: Any, *, cap: int = CAP) -> Any:
    """A log value as JSON values, redacted by key and by content, each text held to `cap` characters."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value if (shown := str(value)) == _guarded.scrub(shown) else HIDDEN
    if isinstance(value, Mapping):
        items = islice(value.items(), MOST)
        return {_text(key, cap): HIDDEN if telling(str(key)) else clean(item, cap=cap) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item, cap=cap) for item in islice(value, MOST)]
    return _text(value, cap)


def telling(key: str) -> bool:
    """Whether a value under this key is a secret by its name alone."""
    name = key.lower().replace("_", "").replace("-", "")
    return any(word in name for word in _TELLING)


def _text(value: Any, cap: int) -> str:
    text = scrub(value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else str(value))
    return text if len(text) <= cap else f"{text[: cap - 1]}…"


def _forms(secret: str) -> set[str]:
    """A secret as it is, as URLs, JSON, hexadecimal and base64 write it (also within a longer base64 text)."""
    data = secret.encode("utf-8", errors="surrogateescape")
    found = {secret, quote_plus(data), quote(data), quote(data, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    found |= {data.hex(), data.hex().upper(), *_base64_forms(data)}
    return {form for form in found if len(form) >= SHORTEST}


def _either_case(escape: re.Match[str]) -> str:
    return f"(?:{escape[0]}|{escape[0].lower()})"


def _base64_forms(data: bytes) -> Iterable[str]:
    """The part of a base64 text that the secret alone decides, for each of the three places it may begin at."""
    for lead, first in ((0, 0), (1, 2), (2, 3)):
        last = (lead + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(lead) + data).decode("ascii")[first:last]
