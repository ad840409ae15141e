"""Ahead: read the next page while the last one is being worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(pages: Iterator[T]) -> Iterator[T]:
    """The same pages in the same order, one of them fetched ahead by a second thread.

    A fault of the source is raised where its page would have been. A consumer that stops early stops the reading.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def read() -> None:
        outcome: tuple[T | None, BaseException | None] = (None, None)
        try:
            for page in pages:
                if not _put(ready, (page, None), stop):
                    return
        except BaseException as error:
            outcome = (None, error)
        _put(ready, outcome, stop)

    reader = threading.Thread(target=read, name="ahead", daemon=True)
    reader.start()
    try:
        while True:
            page, error = ready.get()
            if error is not None:
                raise error
            if page is None:
                return
            yield page
    finally:
        stop.set()
        reader.join()


def with_the_last(pages: Iterator[T]) -> Iterator[tuple[T, bool]]:
    """Each page, and whether it is the last one: then no place leads on from it, and the source has been read.

    What is raised in place of a page comes after the page before it, which is kept all the same.
    """
    before: T | None = None
    try:
        for page in pages:
            if before is not None:
                yield before, False
            before = page
    except Exception:
        if before is not None:
            yield before, False
        raise
    if before is not None:
        yield before, True


def _put(ready: queue.Queue[T], item: T, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
