"""What Monaco's headers say of the hour's budget, whatever shape they have."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.monaco.budget import Budget

NOW = "2026-03-02T08:00:00.000Z"
EPOCH = 1772438400
"""The same moment, in seconds."""


def told(remaining: Any, reset: Any, limit: Any = 1000, **more: str) -> dict[str, str]:
    named = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset, **more}
    return {name: str(value) for name, value in named.items() if value is not None}


@pytest.mark.parametrize(
    ("headers", "news"),
    [
        ({}, None),
        (told(900, EPOCH + 3600), (800, 3600)),
        (told(101, EPOCH + 60), (1, 60)),
        (told(100, EPOCH + 60), (0, 60)),
        (told(0, (EPOCH + 60) * 1000), (0, 60)),
        (told(0, EPOCH + 10**6), (0, 3600)),
        (told(0, EPOCH - 5), None),
        (told(0, "soon"), None),
        (told("none", EPOCH + 60), None),
        (told(0, EPOCH + 60, None), None),
        (told(0, EPOCH + 60, date="Mon, 02 Mar 2026 08:00:20 GMT"), (0, 40)),
        (told(0, EPOCH + 60, date="nonsense"), (0, 60)),
        (told(0, "9" * 30), None),
    ],
)
def test_what_remains_of_the_hour_is_ours_but_for_the_reserve(headers: dict[str, str], news: tuple[int, float] | None):
    assert Budget(0.1)(200, headers, NOW) == news


def test_a_refusal_waits_for_the_reset_or_for_retry_after_or_doubles():
    budget = Budget(0.1)
    assert budget(429, told(0, EPOCH + 90), NOW) == (0, 90)
    assert budget(429, told(0, EPOCH + 90, **{"retry-after": "3"}), NOW) is None
    assert budget(200, {}, NOW) is None
    assert [budget(429, {}, NOW) for _ in range(6)] == [(0, wait) for wait in (60, 120, 240, 480, 900, 900)]
    assert budget(500, {}, NOW) is None
    assert budget(429, told(0, EPOCH - 60), NOW) == (0, 60)
