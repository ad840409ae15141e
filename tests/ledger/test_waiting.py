"""Waiting: who finds no room, and who has waited too long, is told so; there is room again when others are through."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ledger.waiting import Waiting

Places = list["asyncio.Future[str]"]


def waiting(most: int = 10, most_bytes: int = 1000, within_s: float = 60.0) -> Waiting[str]:
    return Waiting(full=lambda: "no room", late=lambda: "late", most=most, most_bytes=most_bytes, within_s=within_s)


async def begun(*coroutines: Coroutine[Any, Any, str]) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(one) for one in coroutines]
    await asyncio.sleep(0)
    return tasks


def test_so_many_may_wait_and_the_next_one_is_told_without_being_offered():
    async def story() -> None:
        room, places = waiting(most=2), Places()
        first, second = await begun(room.answer(1, places.append), room.answer(1, places.append))
        assert (room.full, await room.answer(1, places.append), len(places)) == (True, "no room", 2)
        places[0].set_result("done")
        assert (await first, room.full) == ("done", False)
        (third,) = await begun(room.answer(1, places.append))
        places[1].set_result("second")
        places[2].set_result("third")
        assert (await second, await third) == ("second", "third")

    asyncio.run(story())


def test_large_requests_leave_room_for_fewer():
    async def story() -> None:
        room, places = waiting(most_bytes=1000), Places()
        (first,) = await begun(room.answer(999, places.append))
        assert not room.full
        (second,) = await begun(room.answer(5000, places.append))
        assert (room.full, await room.answer(0, places.append)) == (True, "no room")
        places[1].set_result("done")
        assert (await second, room.full) == ("done", False)
        first.cancel()

    asyncio.run(story())


def test_who_has_waited_too_long_is_told_though_nobody_ever_answers_and_leaves_room():
    async def story() -> None:
        room, places = waiting(most=2, within_s=0.0), Places()
        answers = await asyncio.gather(room.answer(1, places.append), room.answer(1, places.append))
        assert (answers, room.full) == (["late", "late"], False)
        assert all(place.done() for place in places)

    asyncio.run(story())


def test_a_request_that_is_cancelled_leaves_room():
    async def story() -> None:
        room, places = waiting(most=1), Places()
        (first,) = await begun(room.answer(1, places.append))
        first.cancel()
        await asyncio.wait([first])
        assert not room.full

    asyncio.run(story())


def test_it_says_how_many_wait_and_for_how_long_the_first_of_them_has():
    async def story() -> None:
        room, places = waiting(), Places()
        assert (room.number, room.longest_s) == (0, 0.0)
        first, second = await begun(room.answer(1, places.append), room.answer(1, places.append))
        await asyncio.sleep(0.02)
        (third,) = await begun(room.answer(1, places.append))
        assert room.number == 3
        assert room.longest_s >= 0.02
        places[0].set_result("done")
        await first
        second.cancel()
        await asyncio.wait([second])
        of_the_third = room.longest_s
        await asyncio.sleep(0.02)
        assert (room.number, room.longest_s > of_the_third >= 0.0) == (1, True)
        places[2].set_result("done")
        await third
        assert (room.number, room.longest_s) == (0, 0.0)

    asyncio.run(story())


def test_it_goes_on_in_another_loop():
    room = waiting(most=1, within_s=0.0)
    assert [asyncio.run(room.answer(1, lambda _: None)) for _ in range(2)] == ["late", "late"]
