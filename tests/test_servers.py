"""What tests stand on: a port that is theirs alone, and waiting that ends."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

import pytest

from tests.servers import reserved_port
from tests.waiting import eventually


def test_a_reserved_port_is_its_servers_again_and_again_and_refuses_while_nobody_listens(port: int):
    for _ in range(2):
        with closing(socket.create_server(("127.0.0.1", port))) as server:
            socket.create_connection(("127.0.0.1", port)).close()
            server.accept()[0].close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_reserved_port_is_given_to_nobody_else():
    with ExitStack() as stack:
        ours = {stack.enter_context(reserved_port()) for _ in range(500)}
        others = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(2000)]
        assert len(ours) == 500
        assert ours.isdisjoint(other.getsockname()[1] for other in others)
        with pytest.raises(OSError, match="in use"), closing(socket.socket()) as late:
            late.bind(("127.0.0.1", min(ours)))


def test_waiting_gives_what_it_waited_for_or_tells_what_never_came_true():
    looks = iter([0, 0, 7])
    assert eventually(lambda: next(looks), "it is there", every_s=0.001) == 7
    with pytest.raises(AssertionError, match="never came true that pigs fly\nthey walk"):
        eventually(lambda: False, "pigs fly", 0.01, told=lambda: "they walk")
