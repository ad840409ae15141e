"""What a reader's pages leave with whoever reads them: no pipeline, no store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from connectors.source import Cursor, Page, Reader, Record


class Pulls:
    """A connection as the pipeline keeps it: records by id, the last one wins, and the cursor of each page.

    `held` are the last bytes of each record, `gone` the ids whose last word was that they are gone, `labels` the custom
    fields' labels by their keys. `pages` are those of the last pull.
    """

    def __init__(self, open_again: Callable[[], Reader]) -> None:
        self.open_again = open_again
        self.cursor: Cursor | None = None
        self.held: dict[str, bytes] = {}
        self._landed: dict[str, Record] = {}
        self.gone: set[str] = set()
        self.labels: dict[str, str] = {}
        self.pages: list[Page] = []

    def pull(self, *, pages: int | None = None) -> list[Page]:
        """One pull; it dies after so many pages, if that is said."""
        self.pages = []
        for page in self.open_again().changed(self.cursor):
            self.take(page)
            if len(self.pages) == pages:
                break
        return self.pages

    def take(self, page: Page) -> None:
        self.pages.append(page)
        self.labels |= {field.record_key: field.label for field in page.fields}
        for record in page.records:
            if record.deleted:
                self.gone.add(record.source_id)
                self._landed.pop(record.source_id, None)
            else:
                self.gone.discard(record.source_id)
                self.held[record.source_id] = record.raw
                self._landed[record.source_id] = record
        self.cursor = page.cursor if page.cursor is not None else self.cursor

    def known(self, ids: Sequence[str]) -> dict[str, Record]:
        """What a store that the pages landed in would say of these deals."""
        return {one: self._landed[one] for one in ids if one in self._landed}

    @property
    def read(self) -> int:
        """How many records the last pull showed, each as often as it came."""
        return sum(len(page.records) for page in self.pages)

    @property
    def ids(self) -> set[str]:
        """The records that the last pull showed."""
        return {record.source_id for page in self.pages for record in page.records}

    @property
    def notes(self) -> set[str]:
        return {note for page in self.pages for note in page.notes}


def swept(pages: Iterable[Page]) -> tuple[set[str], set[str]]:
    """The ids of the living and the doubts of a complete read."""
    seen = list(pages)
    living = {record.source_id for page in seen for record in page.records if not record.deleted}
    return living, {doubt for page in seen for doubt in page.doubts}
