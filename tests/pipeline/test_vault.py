"""The vault: the same records are one block, whoever keeps them, and at the same moment too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from deals.identity import digest
from pipeline.settings import load
from pipeline.store import vault
from pipeline.store.vault import RawRef
from pipeline.wiring import migrate, open_app

AT = "2026-05-01T00:00:00.000Z"
RAWS = [b'{"_id":"1"}', b'{"_id":"2"}']


def test_two_who_keep_the_same_records_at_once_keep_one_block(database_url: str, tmp_path: Path):
    file = tmp_path / "dealsync.toml"
    file.write_text(f'[store]\nurl = "{database_url}"\n')
    config = load(file, {})
    migrate(config)
    with open_app(config) as app, ThreadPoolExecutor() as threads:

        def keep() -> int:
            with app.store.write() as tx:
                return vault.keep(tx, RAWS, AT)

        with app.store.write() as tx:
            first = vault.keep(tx, RAWS, AT)
            other = threads.submit(keep)
            wait([other], timeout=0.5)  # it has looked, found nothing, and waits for us
            assert not other.done()
        assert other.result(30) == first
        with app.store.read() as tx:
            refs = [RawRef(digest(raw), first, place) for place, raw in enumerate(RAWS)]
            assert vault.fetch_all(tx, refs) == dict(zip(refs, RAWS, strict=True))
            for wrong in (RawRef(digest(RAWS[0]), first + 1, 0), RawRef(digest(RAWS[0]), first, len(RAWS))):
                with pytest.raises(ValueError, match="does not hold"):
                    vault.fetch(tx, wrong)
