"""The simulated wire: requests are read as they were sent, and each mishap is the one it is named for."""

from __future__ import annotations

import gzip
import json
from random import Random

from connectors import simulated_wire as wire
from connectors.simulated_wire import Answer, Faults, Request, json_answer


class Server:
    """An honest handler that remembers whether it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: Request) -> Answer:
        self.asked += 1
        return json_answer([1, 2, 3])


REQUEST = Request.to("GET", "/deals?limit=2", {})


def test_a_request_is_read_as_it_was_sent():
    request = Request.to("get", "/deals/extid-a%2Fb?limit=2&limit=3&sort=", {"Host": "API.planhat.com:443"})
    assert request.method == "GET"
    assert request.segments == ("deals", "extid-a/b")
    assert request.query == {"limit": "3", "sort": ""}
    assert request.host == "api.planhat.com"


def test_a_refusal_does_not_reach_the_server():
    server = Server()
    for mishap in (wire.refused(503), wire.rate_limited(), wire.reset(), wire.html(), wire.saying(b"[]")):
        mishap(REQUEST, server)
    assert server.asked == 0


def test_a_lost_answer_comes_after_the_work_was_done():
    server = Server()
    assert wire.lost_answer()(REQUEST, server).cut == "answer"
    assert wire.overtaken()(REQUEST, server).status == 504
    assert server.asked == 2


def test_a_429_tells_when_to_come_back_only_if_it_is_made_to():
    assert "retry-after" not in wire.rate_limited()(REQUEST, Server()).headers
    assert wire.rate_limited("soon")(REQUEST, Server()).headers["retry-after"] == "soon"
    told = wire.rate_limited(headers={"X-Rate-Limit-Remaining": "0"})(REQUEST, Server())
    assert (told.status, told.headers["X-Rate-Limit-Remaining"]) == (429, "0")


def test_a_gzip_bomb_is_small_on_the_wire_and_valid_json_when_unpacked():
    bomb = wire.gzip_bomb(3 << 20)(REQUEST, Server())
    assert len(bomb.body) < 20_000
    unpacked = gzip.decompress(bomb.body)
    assert len(unpacked) == (3 << 20) + 2
    assert json.loads(unpacked) == []


def test_a_cut_json_is_half_of_the_honest_body():
    assert wire.cut_json()(REQUEST, Server()).body == b"[1,"


def test_queued_mishaps_meet_the_coming_requests_in_turn():
    faults = Faults(Random(0))
    reset, slow = wire.reset(), wire.slow(1)
    faults.next(reset, slow, times=2)
    assert [faults.pick(number, REQUEST) for number in range(1, 6)] == [reset, slow, reset, slow, None]


def test_a_numbered_mishap_goes_before_the_queue_and_happens_once():
    faults = Faults(Random(0))
    reset, slow = wire.reset(), wire.slow(1)
    faults.next(slow)
    faults.at(1, reset)
    assert [faults.pick(1, REQUEST), faults.pick(2, REQUEST), faults.pick(1, REQUEST)] == [reset, slow, None]


def test_chance_is_drawn_from_the_seed():
    def drawn(seed: int) -> list[bool]:
        faults = Faults(Random(seed))
        faults.sometimes(0.3, wire.reset())
        return [faults.pick(number, REQUEST) is not None for number in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 30 < sum(drawn(1)) < 90


def test_chance_spares_the_requests_it_does_not_mean():
    faults = Faults(Random(0))
    faults.sometimes(1.0, wire.reset(), where=lambda request: request.method == "PUT")
    assert faults.pick(1, REQUEST) is None
    assert faults.pick(2, Request.to("PUT", "/deals", {})) is not None
    faults.clear()
    assert faults.pick(3, Request.to("PUT", "/deals", {})) is None
