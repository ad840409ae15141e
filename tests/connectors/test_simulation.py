"""The simulation kit: a clock that only tests move, a log, and the same server in process and over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from connectors import simulated_wire as wire
from connectors.simulated_wire import Answer, Request, json_answer
from connectors.simulation import SimClock, Simulator, asgi, serve


class Echo(Simulator):
    """Answers what it was asked."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.settled = 0

    def handle(self, request: Request) -> Answer:
        seen = {"path": request.path, "query": dict(request.query), "body": request.body.decode()}
        return json_answer(seen, headers={"x-method": request.method})

    def settle(self) -> None:
        self.settled += 1


@contextmanager
def in_process(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(transport=simulator.transport(), base_url="http://crm.example") as client:
        yield client


@contextmanager
def over_a_socket(simulator: Simulator) -> Iterator[httpx.Client]:
    with serve(asgi(simulator)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


both_ways = pytest.mark.parametrize("reach", [in_process, over_a_socket])


def test_the_clock_stands_still_until_it_is_moved():
    clock = SimClock()
    assert (clock.text(), clock.text()) == ("2026-03-02T08:00:00.000Z", "2026-03-02T08:00:00.000Z")
    clock.advance(90)
    clock.advance(timedelta(milliseconds=5))
    assert clock.text() == "2026-03-02T08:01:30.005Z"
    clock.sleep(9.995)
    assert clock.monotonic() == 100.0


def test_a_write_takes_a_tick_unless_the_clock_is_coarse():
    fine, coarse = SimClock(), SimClock(tick=timedelta())
    assert fine.tick() < fine.tick()
    assert coarse.tick() == coarse.tick()


@both_ways
def test_a_request_arrives_as_it_was_sent(reach):
    with reach(Echo()) as client:
        answer = client.put("/deals/extid-a%2Fb", params={"q": "ä b"}, content=b"body")
    assert answer.json() == {"path": "/deals/extid-a%2Fb", "query": {"q": "ä b"}, "body": "body"}
    assert answer.headers["x-method"] == "PUT"


@both_ways
def test_every_request_is_logged_with_what_came_of_it(reach):
    echo = Echo()
    echo.faults.next(wire.refused(503))
    with reach(echo) as client:
        client.get("/a", params={"limit": 2})
        echo.clock.advance(60)
        client.post("/b")
    assert [(call.number, call.method, call.path, call.query, call.status) for call in echo.log] == [
        (1, "GET", "/a", {"limit": "2"}, 503),
        (2, "POST", "/b", {}, 200),
    ]
    assert [call.at for call in echo.log] == ["2026-03-02T08:00:00.000Z", "2026-03-02T08:01:00.000Z"]


@both_ways
def test_a_truncated_body_is_a_cut_connection(reach):
    echo = Echo()
    echo.faults.next(wire.truncated())
    with reach(echo) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/")
        assert client.get("/").status_code == 200


@both_ways
@pytest.mark.parametrize("mishap", [wire.reset(), wire.lost_answer()], ids=["reset", "lost answer"])
def test_a_cut_connection_gives_no_answer(reach, mishap):
    echo = Echo()
    echo.faults.next(mishap)
    with reach(echo) as client:
        with pytest.raises(httpx.TransportError):
            client.get("/")
        assert client.get("/").status_code == 200
    assert [call.status for call in echo.log] == [0, 200]


@both_ways
def test_an_endless_body_never_ends_and_stops_with_its_reader(reach):
    echo = Echo()
    echo.faults.next(wire.endless())
    with reach(echo) as client:
        got = 0
        with client.stream("GET", "/") as answer:
            for chunk in answer.iter_bytes():
                got += len(chunk)
                if got > 4_000_000:
                    break
        assert client.get("/").status_code == 200


@both_ways
def test_a_gzip_bomb_goes_off_in_the_reader(reach):
    echo = Echo()
    echo.faults.next(wire.gzip_bomb(8 << 20))
    with reach(echo) as client, client.stream("GET", "/") as answer:
        assert sum(len(chunk) for chunk in answer.iter_bytes()) == (8 << 20) + 2


def test_a_slow_answer_costs_simulated_time_only():
    echo = Echo()
    echo.faults.next(wire.slow(20), wire.slow(40))
    with httpx.Client(transport=echo.transport(), base_url="http://crm.example", timeout=30) as client:
        assert client.get("/").status_code == 200
        assert echo.clock.monotonic() == 20
        with pytest.raises(httpx.ReadTimeout):
            client.get("/")
        assert echo.clock.monotonic() == 50


def test_over_a_socket_a_slow_answer_is_slow():
    echo = Echo()
    echo.faults.next(wire.slow(5))
    with over_a_socket(echo) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get("/", timeout=0.1)
        assert client.get("/").status_code == 200


def test_a_mounted_simulator_does_not_see_its_prefix():
    app = Starlette(routes=[Mount("/planhat", app=asgi(Echo()))])
    with serve(app) as url:
        assert httpx.get(f"{url}/planhat/deals?limit=1").json()["path"] == "/deals"


def test_a_served_app_ends_with_its_block_and_frees_its_port():
    with serve(asgi(Echo())) as url:
        port = int(url.rpartition(":")[2])
        assert httpx.get(url).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with serve(asgi(Echo()), port=port) as again:
        assert again == url


def test_what_happens_afterwards_happens_once_the_simulator_is_free():
    echo = Echo()
    with echo.exclusive():
        with echo.exclusive():
            pass
        assert echo.settled == 0
    assert echo.settled == 1
    with in_process(echo) as client:
        client.get("/")
    assert echo.settled == 2


def test_the_same_seed_meets_the_same_mishaps():
    def statuses(seed: int) -> list[int]:
        echo = Echo(seed)
        echo.faults.sometimes(0.4, wire.refused(500))
        with in_process(echo) as client:
            return [client.get("/").status_code for _ in range(50)]

    assert statuses(3) == statuses(3) != statuses(4)
