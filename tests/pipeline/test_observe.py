"""Every line, whoever wrote it, passes one chain: bound, redacted, one line, never in the way."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import structlog

from pipeline import observe

CANARY = "oqp_canary+secret/4711"
CANARY_FORMS = (
    CANARY,
    quote(CANARY, safe=""),
    base64.b64encode(CANARY.encode()).decode()[:-4],
    base64.b64encode(f"{CANARY}:".encode()).decode()[:-4],
    CANARY.encode().hex(),
)


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    before, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    root.handlers[:] = before
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


@pytest.fixture(params=["json", "console"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    """What was written, in either format."""
    out = io.StringIO()
    observe.configure(request.param, "debug", out)
    return out


@pytest.fixture
def lines() -> io.StringIO:
    out = io.StringIO()
    observe.configure("json", "info", out)
    return out


def read(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_no_secret_reaches_any_line(stream: io.StringIO):
    observe.guard(CANARY)
    log = structlog.get_logger("test")
    basic = base64.b64encode(f"{CANARY}:".encode()).decode()
    with observe.bind(run=1, connection=CANARY):
        log.info(f"event with {CANARY}", url=f"https://{CANARY}@host/?q={quote(CANARY)}", raw=CANARY.encode())
        log.warning("headers", headers={"Accept": f"Basic {basic}", "nested": [{"deep": CANARY.encode().hex()}]})
        logging.getLogger("httpx").warning("GET %s", f"https://host/?t={quote(CANARY, safe='')}")
        logging.getLogger("celery").info("task args=%r", (CANARY,), extra={"password": "short"})
        try:
            try:
                raise ValueError(f"could not open postgresql://me:{CANARY}@host/db")
            except ValueError as inner:
                raise RuntimeError(f"token {CANARY}") from inner
        except RuntimeError:
            log.exception("failed")
            logging.getLogger("uvicorn.error").exception("failed too")
    written = stream.getvalue()
    assert written.count("[secret]") >= 10
    assert "could not open postgresql://" in written
    assert not [form for form in CANARY_FORMS if form in written]
    assert "short" not in written


def test_locals_of_a_failed_frame_are_not_shown(stream: io.StringIO):
    def fails() -> None:
        payload = "unguarded-" + "local"
        raise ValueError(len(payload))

    try:
        fails()
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "unguarded-local" not in stream.getvalue()


def test_lines_carry_the_run_connection_and_deal_they_belong_to(lines: io.StringIO):
    with observe.bind(run=7, connection="planhat-eu"):
        structlog.get_logger("ours").info("page", deal="planhat-eu:1")
        logging.getLogger("theirs").info("theirs %d", 2)
    structlog.get_logger("ours").info("after")
    first, second, third = read(lines)
    assert (first["run"], first["connection"], first["deal"], first["event"]) == (
        7,
        "planhat-eu",
        "planhat-eu:1",
        "page",
    )
    assert (second["run"], second["event"], second["logger"]) == (7, "theirs 2", "theirs")
    assert "run" not in third


def test_a_hostile_value_cannot_begin_a_new_line(stream: io.StringIO):
    hostile = "x\n2026-01-01 [error] forged\r\x1b[2J\u2028\u202e"
    structlog.get_logger().info(hostile, value=hostile, **{"key\nforged": 1})
    logging.getLogger("other").info(hostile)
    written = stream.getvalue()
    assert len(written.splitlines()) == 2
    assert not any(char in written for char in "\r\x1b\u2028\u202e")


def test_values_are_capped(lines: io.StringIO):
    structlog.get_logger().info("x", body="y" * 100_000, many=list(range(100_000)))
    assert len(lines.getvalue()) < 2_000


def test_chatty_libraries_are_heard_from_a_warning_on(lines: io.StringIO):
    logging.getLogger("httpx").info("HTTP Request: GET https://host/?token=1")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("httpx").warning("slow")
    assert [line["event"] for line in read(lines)] == ["slow"]


def test_a_line_says_nothing_twice(lines: io.StringIO):
    record = logging.LogRecord("uvicorn.error", logging.INFO, "x.py", 1, "ready %d", (1,), None)
    record.message, record.color_message, record.pid = "ready 1", "\x1b[36mready", 7
    logging.getLogger().handle(record)
    (line,) = read(lines)
    assert set(line) == {"at", "level", "event", "logger", "pid"}


def test_a_level_holds_back_what_is_below_it():
    out = io.StringIO()
    observe.configure("json", "error", out)
    structlog.get_logger("x").warning("no")
    structlog.get_logger("x").error("yes")
    assert [line["event"] for line in read(out)] == ["yes"]


def test_configuring_again_replaces_the_former_stream(lines: io.StringIO):
    second = io.StringIO()
    observe.configure("json", "info", second)
    structlog.get_logger().info("once")
    assert lines.getvalue() == ""
    assert len(read(second)) == 1


@pytest.mark.parametrize(("format", "level"), [("yaml", "info"), ("json", "loud")])
def test_an_unknown_format_or_level_is_refused_with_the_known_ones(format: str, level: str):
    with pytest.raises(ValueError, match=r"use (json or console|one of debug, info)"):
        observe.configure(format, level)  # type: ignore[arg-type]


def test_a_log_that_cannot_be_written_stops_nothing():
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    observe.configure("json", "info", Full())
    structlog.get_logger().info("lost")
    closed = io.StringIO()
    observe.configure("console", "info", closed)
    closed.close()
    structlog.get_logger().info("lost too")


def test_a_value_that_cannot_be_shown_costs_its_line_only(lines: io.StringIO):
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

    structlog.get_logger().info("x", value=Broken())
    assert lines.getvalue() == "a log line could not be written: RuntimeError in __str__\n"


def test_a_stream_of_another_encoding_gets_escapes():
    raw = io.BytesIO()
    observe.configure("console", "info", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    structlog.get_logger().info("café")
    assert b"caf\\xe9" in raw.getvalue()


def test_an_exception_nobody_caught_in_a_thread_is_logged_and_redacted(lines: io.StringIO):
    observe.guard(CANARY)
    observe.log_uncaught()

    def fails() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    (line,) = read(lines)
    assert line["event"] == "uncaught"
    assert "ValueError: [secret]" in str(line["exception"])
