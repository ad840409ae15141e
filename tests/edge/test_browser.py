"""The pages in a real browser, where the system has one: with the keyboard alone, and without a complaint of its."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.audit import list_audits
from tests.edge.operated import ANN, HOSTILE, NAME, Lived, Operated, copied

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
api: Any = pytest.importorskip("playwright.sync_api") if CHROMIUM else None
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the system has no Chromium")

COLOURS = """() => [...document.querySelectorAll('main *, header *')]
    .filter(one => [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()))
    .map(one => {
        let behind = one;
        while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
        const paper = behind ? getComputedStyle(behind).backgroundColor : 'rgb(255, 255, 255)';
        return [one.tagName, getComputedStyle(one).color, paper];
    })"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, lived: Lived) -> Iterator[Operated]:
    with copied(tmp_path_factory.mktemp("browser"), lived) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(world: Operated, browser: Any) -> Iterator[Any]:
    """A page whose every complaint fails the test: a refused script, a style, a request to elsewhere."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda one: None if one.url.startswith((world.url, "data:")) else complaints.append(one.url))
    page.on("dialog", lambda one: complaints.append(one.message))
    yield page
    page.close()
    assert complaints == []


def typed(page: Any, *keys: str) -> None:
    """What somebody types; Enter sends, and the page that comes of it is waited for."""
    for key in keys:
        if key == "Enter":
            with page.expect_navigation():
                page.keyboard.press(key)
        elif key == "Tab":
            page.keyboard.press(key)
        else:
            page.keyboard.type(key)


def focused(page: Any) -> str:
    said: str = page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).innerText")
    return said


def test_everything_is_reached_and_done_with_the_keyboard(world: Operated, page: Any):
    page.goto(f"{world.url}/connections/{NAME}")
    typed(page, "Tab", "Tab")
    assert focused(page) == "Your token"
    typed(page, ANN, "Enter")
    assert page.url == f"{world.url}/connections/{NAME}", "one goes on to where one wanted"
    typed(page, "Tab")
    assert focused(page) == "Skip to the content"
    while focused(page) != "Pause, because":
        typed(page, "Tab")
    typed(page, HOSTILE, "Enter")
    assert "Paused." in page.inner_text("[role=status]")
    while focused(page) != "Resume, because":
        typed(page, "Tab")
    typed(page, "over", "Tab", "Enter")
    assert "Resumed." in page.inner_text("[role=status]")
    assert [one["reason"] for one in list_audits(world.app)][-2:] == [HOSTILE, "over"]


def test_every_text_stands_out_from_what_it_lies_on(world: Operated, page: Any):
    page.goto(world.url)
    page.fill("#token", ANN)
    page.click("main button")
    for path in (
        "/",
        f"/connections/{NAME}",
        "/deals",
        "/parked",
        "/parked/1",
        "/held/1",
        "/backfills",
        "/runs",
        "/audit",
    ):
        page.goto(f"{world.url}{path}")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            seen = {tuple(one) for one in page.evaluate(COLOURS)}
            assert len(seen) > 3
            assert {one: ratio for one in seen if (ratio := contrast(one[1], one[2])) < 4.5} == {}, (path, scheme)


def contrast(ink: str, paper: str) -> float:
    """The contrast of two colours as WCAG 2 defines it."""
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
