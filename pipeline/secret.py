"""Secret: a reference to a secret in the environment or in a file, read only when it is needed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from pipeline.faults import SettingsError
from pipeline.overrides import Given
from pipeline.redaction import guard

HOW = 'write { env = "NAME" } or { file = "/path" }'
_LARGEST = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
log = structlog.get_logger()


class Secret:
    """Where a secret is, never the secret itself; a repr shows no more than that.

    `place` is the configuration's key, for messages.
    """

    __slots__ = ("_environ", "env", "file", "place")

    def __init__(
        self, *, environ: Mapping[str, str], env: str | None = None, file: Path | None = None, place: str = "a secret"
    ) -> None:
        self._environ = environ
        self.env = env
        self.file = file
        self.place = place

    def __repr__(self) -> str:
        return f"Secret(env={self.env!r})" if self.env else f"Secret(file={str(self.file)!r})"

    def reveal(self) -> str:
        """The secret; from now on it is hidden in every log line.

        Raises `SettingsError` when the variable is unset or blank, or the file cannot be read or holds no single text.
        """
        secret = self._from_environment() if self.env else self._from_file()
        guard(secret)
        return secret

    def _from_environment(self) -> str:
        secret = self._environ.get(self.env or "", "")
        if not secret.strip():
            state = "is empty" if self.env in self._environ else "is not set"
            raise SettingsError([f"{self.place}: the environment variable {self.env} {state}; set it to the secret"])
        return secret

    def _from_file(self) -> str:
        assert self.file is not None
        try:
            mode = self.file.stat().st_mode
            with self.file.open("rb") as opened:
                data = opened.read(_LARGEST + 1)
        except OSError as error:
            raise SettingsError([f"{self.place}: {self.file}: {error.strerror or 'cannot be read'}"]) from None
        if os.name == "posix" and mode & stat.S_IWOTH:
            log.warning("secret.file_writable_by_all", file=str(self.file), place=self.place)
        return self._text(data)

    def _text(self, data: bytes) -> str:
        """The file's text without one line break at its end."""
        wrong = None
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise SettingsError([f"{self.place}: {self.file} is not UTF-8 text"]) from None
        secret = text.removesuffix("\n").removesuffix("\r")
        if len(data) > _LARGEST:
            wrong = "is larger than 64 kB; is it the right file?"
        elif "\0" in secret:
            wrong = "holds a NUL character; is it the right file?"
        elif not secret.strip():
            wrong = "is empty; write the secret into it"
        if wrong:
            raise SettingsError([f"{self.place}: {self.file} {wrong}"])
        return secret


def reference(value: Any, environ: Mapping[str, str], folder: Path) -> Secret:
    """A secret from what the configuration says. Raises `ValueError` saying what would be right, never the value."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, Given):
        if not value.lstrip().startswith("{"):
            return Secret(environ=environ, env=value.variable)
        value = value.literal()
    if not isinstance(value, dict):
        if isinstance(value, str):
            guard(value)
        raise ValueError(f"a secret is not written into the configuration; {HOW}")  # noqa: TRY004
    if set(value) not in ({"env"}, {"file"}):
        raise ValueError(f"a secret has either env or file and nothing else; {HOW}")
    (kind, where), *_ = value.items()
    if not isinstance(where, str) or not where.strip():
        raise ValueError(f"{kind} must be text; {HOW}")
    if kind == "file":
        return Secret(environ=environ, file=folder / where)
    if not _NAME.fullmatch(where):
        raise ValueError(f"env must be the name of an environment variable, of letters, digits and _; {HOW}")
    return Secret(environ=environ, env=where)
