"""Observe: logs as events with fields, from every library, bound to their run, and redacted where they are written."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, TextIO, get_args

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pipeline.redaction import HIDDEN, clean, escaped, guard, scrub, telling

__all__ = ["Format", "bind", "configure", "escaped", "guard", "level_named", "log_uncaught", "scrub"]

Format = Literal["json", "console"]

_LEVELS = ("debug", "info", "warning", "error", "critical")
_EXCEPTION_CAP = 8192
_CHATTY = (
    "httpx",
    "httpcore",
    "sqlalchemy",
    "alembic",
    "celery.utils.functional",
    "kombu",
    "amqp",
    "asyncio",
    "urllib3",
)
"""Libraries whose lines below a warning repeat what our own lines say, or say more than a log may."""


def configure(format: Format = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line, ours and the libraries', through one chain to `stream`.

    `json` writes one JSON object a line; `console` is for a person. Without a stream, lines go to what `sys.stderr`
    is at that moment. It may be called again; the last call holds. A Celery worker calls it in its `setup_logging`
    signal, uvicorn is started with `log_config=None`.
    Raises `ValueError` for an unknown format or level.
    """
    if format not in get_args(Format):
        raise ValueError(f"{format!r} is no log format: use json or console")
    number = level_named(level)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _forget_formatted],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact,
                *_renderer(format, handler),
            ],
        )
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def bind(**context: Any) -> AbstractContextManager[None]:
    """Within the block, every line of this thread or task carries `context`: run, connection, deal."""
    return structlog.contextvars.bound_contextvars(**context)


def level_named(level: str) -> int:
    """The number `logging` gives a level. Raises `ValueError` for another word."""
    if level.lower() not in _LEVELS:
        raise ValueError(f"{level!r} is no log level: use one of {', '.join(_LEVELS)}")
    return logging.getLevelNamesMapping()[level.upper()]


def log_uncaught() -> None:
    """Log what nobody caught, in any thread, instead of printing it: a traceback may repeat a secret."""
    log = structlog.get_logger("dealsync")

    def uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt | SystemExit):
            log.critical("uncaught", exc_info=(kind, error, trace))

    sys.excepthook = uncaught
    threading.excepthook = lambda raised: uncaught(raised.exc_type, raised.exc_value, raised.exc_traceback)
    sys.unraisablehook = lambda raised: uncaught(raised.exc_type, raised.exc_value, raised.exc_traceback)


class _Handler(logging.Handler):
    """Writes a line and flushes it; a log that cannot be written stops nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            line = f"a log line could not be written: {type(error).__name__} in {where.name}"
        try:
            stream = self.stream
            encoding = getattr(stream, "encoding", None) or "utf-8"
            stream.write(line.encode(encoding, errors="backslashreplace").decode(encoding) + "\n")
            stream.flush()
        except (OSError, ValueError):
            return


def _forget_formatted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop what other handlers and uvicorn leave in a record: its own text again, formatted or coloured."""
    return {key: value for key, value in event.items() if key not in ("message", "asctime", "color_message")}


def _redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The last word before a line is written: secrets out, values capped, nothing but JSON values left."""
    trace = event.pop("exception", None)
    first = {name: event[name] for name in ("at", "level", "event") if name in event}
    written: EventDict = {
        str(key): HIDDEN if telling(str(key)) else clean(value) for key, value in {**first, **event}.items()
    }
    if trace is not None:
        text = scrub(str(trace))
        written["exception"] = text if len(text) <= _EXCEPTION_CAP else f"…{text[-_EXCEPTION_CAP:]}"
    return written


def _renderer(format: Format, handler: _Handler) -> list[Processor]:
    if format == "json":
        return [structlog.processors.JSONRenderer()]
    colors = bool(getattr(handler.stream, "isatty", lambda: False)())
    return [
        _escape,
        structlog.dev.ConsoleRenderer(
            colors=colors,
            repr_native_str=True,
            pad_event_to=0,
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What a terminal would act on is written out; a traceback keeps its line breaks."""
    written: EventDict = {}
    for key, value in event.items():
        if key == "exception":
            written[key] = "\n".join(escaped(line) for line in str(value).split("\n"))
        else:
            written[escaped(key)] = escaped(value) if key in ("event", "level", "logger", "at") else value
    return written
