"""Progress: a run's counts on one moving line of a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from edge.words import counts
from pipeline.summary import Progress, Summary


@contextmanager
def moving(title: str) -> Iterator[Progress]:
    """A line on stderr that shows the counts of the run so far, gone when the run ends."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def tell(summary: Summary) -> None:
            rate = f", {summary.read / summary.seconds:,.0f}/s" if summary.seconds > 1 else ""
            bar.update(task, description=f"{title}: {counts(summary)}{rate}")

        yield tell


@contextmanager
def filling(title: str) -> Iterator[Callable[[int, str], None]]:
    """A bar on stderr that fills to 100 percent, with a few words after it; gone when the work ends."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
               TextColumn("{task.fields[words]}", markup=False))  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=100, words="")
        yield lambda percent, words: bar.update(task, completed=percent, words=words)
