"""A relay: stands between a client and a server, and cuts, holds, counts, rewrites and remembers what passes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

_PIECE = 1 << 16
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER so that closing sends a reset instead of an orderly end."""

Address = tuple[str, int] | Path


class Ear:
    """What passes over one connection. Each method gives what is sent on; None cuts the connection instead."""

    def up(self, data: bytes) -> bytes | None:
        """From the client to the server."""
        return data

    def down(self, data: bytes) -> bytes | None:
        """From the server to the client."""
        return data


class Relay:
    """Listens on a loopback port and passes on to the first of its servers that takes the connection, in turn.

    `ear` is made for each connection. `cut` resets all of them; while it is held nothing passes; while it refuses,
    nobody gets in. All of it happens in a thread of its own.
    """

    def __init__(self, *servers: Address, ear: Callable[[], Ear] = Ear) -> None:
        self._servers, self._ear = list(servers), ear
        self._turn = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self.refuses = False
        self.passed = 0
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, args=(listener,), name=f"relay {self.port}", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def hold(self) -> None:
        """Nothing passes until `go_on`; nobody is told."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._passing.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, listener: socket.socket) -> None:
        self._loop.run_until_complete(self._listen(listener))
        self._loop.run_forever()
        self._passing.set()
        self._cut()
        if left := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.wait(left, timeout=2))
        listener.close()
        self._loop.close()

    async def _listen(self, listener: socket.socket) -> None:
        await asyncio.start_server(self._connected, sock=listener)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._passing.wait()
            server = None if self.refuses else await self._server()
            if server is None:
                _reset(writer)
                return
            self._open.add(server[1])
            ear = self._ear()
            both = [self._pump(reader, server[1], ear.up), self._pump(server[0], writer, ear.down)]
            await self._until_one_ends(both)
            _end(server[1])
            _end(writer)
            self._open.discard(server[1])
        finally:
            _reset(writer)
            self._open.discard(writer)

    async def _until_one_ends(self, both: list[Coroutine[Any, Any, None]]) -> None:
        tasks = [asyncio.ensure_future(one) for one in both]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _server(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._servers:
            self._turn += 1
            address = self._servers[self._turn % len(self._servers)]
            with suppress(OSError):
                if isinstance(address, Path):
                    return await asyncio.open_unix_connection(str(address))
                return await asyncio.open_connection(*address)
        return None

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Callable[[bytes], bytes | None]
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_PIECE):
                await self._passing.wait()
                self.passed += 1
                said = heard(data)
                if said is None:
                    _reset(writer)
                    return
                writer.write(said)
                await writer.drain()

    def _cut(self) -> None:
        for writer in list(self._open):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    if writer.transport.is_closing():
        return
    opened = writer.get_extra_info("socket")
    if opened is not None and opened.family == socket.AF_INET:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


def _end(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):
        writer.close()


class Answers:
    """Decides for a whole relay which answers its clients never get. Share one between the ears of a relay."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.share = 0.0
        self.lost = 0

    def loses(self) -> bool:
        """Whether the coming answer is lost; chance decides, by `share`."""
        lost = self.share > 0 and self._random.random() < self.share
        self.lost += lost
        return lost


class Unanswered(Ear):
    """Requests that hold a certain text reach the server, and some of their answers never reach the client."""

    def __init__(self, text: bytes, answers: Answers) -> None:
        self._text, self._answers, self._lost = text, answers, False

    def up(self, data: bytes) -> bytes:
        self._lost = self._lost or (self._text in data and self._answers.loses())
        return data

    def down(self, data: bytes) -> bytes | None:
        return None if self._lost else data


COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""How PostgreSQL is asked to commit, in its own protocol."""


class Messages:
    """What becomes of the messages that clients put into a broker's queues; shares of one, and how many there were.

    A lost message is asked about instead of put, a tripled one is put three times in one command, and an overtaking
    one goes to the end of the list that workers take from: each costs the client the answer that it waits for anyway.
    """

    def __init__(self, seed: int, queues: frozenset[bytes]) -> None:
        self._random, self.queues = Random(seed), queues
        self.tripled = self.dropped = self.overtaking = 0.0
        self.met = {"tripled": 0, "dropped": 0, "overtaking": 0, "passed": 0}

    def __call__(self, command: list[bytes]) -> list[bytes]:
        if command[0].upper() != b"LPUSH" or command[1] not in self.queues:
            return command
        chance = self._random.random()
        for what, share, changed in (
            ("dropped", self.dropped, [b"LLEN", command[1]]),
            ("tripled", self.tripled, [*command, *command[2:] * 2]),
            ("overtaking", self.overtaking, [b"RPUSH", *command[1:]]),
        ):
            if chance < share:
                self.met[what] += 1
                return changed
            chance -= share
        self.met["passed"] += 1
        return command


class Rewriting(Ear):
    """Rewrites the commands of a Redis-protocol client, whole commands at a time."""

    def __init__(self, changed: Callable[[list[bytes]], list[bytes]]) -> None:
        self._changed, self._rest = changed, b""

    def up(self, data: bytes) -> bytes:
        self._rest += data
        said = b""
        while (found := _command(self._rest)) is not None:
            command, self._rest = found
            said += _encoded(self._changed(command))
        return said


def _command(data: bytes) -> tuple[list[bytes], bytes] | None:
    """The first whole command of a stream, and what follows it."""
    head, found, rest = data.partition(b"\r\n")
    if not found:
        return None
    assert head[:1] == b"*", f"no Redis command begins like {head[:20]!r}"
    words = []
    for _ in range(int(head[1:])):
        size, found, rest = rest.partition(b"\r\n")
        length = int(size[1:] or -1) if found else -1
        if not found or len(rest) < length + 2:
            return None
        words.append(rest[:length])
        rest = rest[length + 2 :]
    return words, rest


def _encoded(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Recording(Ear):
    """Keeps what clients say, connection by connection, and may lose answers."""

    def __init__(self, kept: list[list[bytes]], answers: Answers, text: bytes) -> None:
        self._kept: list[bytes] = []
        self._unanswered = Unanswered(text, answers)
        kept.append(self._kept)

    def up(self, data: bytes) -> bytes:
        self._kept.append(data)
        return self._unanswered.up(data)

    def down(self, data: bytes) -> bytes | None:
        return self._unanswered.down(data)
