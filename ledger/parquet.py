"""Parquet: a period of the ledger as Parquet, by the extra `parquet`; nothing else of ours imports pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

from ledger.export import Entry, Exported
from ledger.port import LedgerFault

_DIGITS = 38
"""More than so many are read by some as a float, by others not at all."""

_TEXT = pyarrow.string()
_KINDS = {
    "sequence": pyarrow.int64(),
    "occurred_at": pyarrow.timestamp("ms", tz="UTC"),
    "amount_cents": pyarrow.decimal128(_DIGITS, 0),
}
_NULLABLE = {"amount_cents", "stage", "close_date", "owner_external_id"}
_SCHEMA = pyarrow.schema(
    [pyarrow.field(name, _KINDS.get(name, _TEXT), nullable=name in _NULLABLE) for name in Entry._fields]
)


class ParquetSheet:
    """A row group for each batch of entries; amounts are decimals without a fraction, times are instants.

    The file's own metadata tell the digest, the number of events and both ends of the chain, each as `dealsync.NAME`.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._writer = parquet.ParquetWriter(out, _SCHEMA, compression="zstd")

    def write(self, entries: Sequence[Entry]) -> None:
        """Add a row group. Raises `LedgerFault` for an amount that no reader would take."""
        columns = [_array(field, values) for field, values in zip(_SCHEMA, zip(*entries, strict=True), strict=True)]
        self._writer.write_table(pyarrow.table(columns, schema=_SCHEMA), row_group_size=len(entries))

    def finish(self, exported: Exported) -> None:
        """Write the metadata and the footer; the file stays open."""
        told = {f"dealsync.{name}": str(value) for name, value in asdict(exported).items()}
        self._writer.add_key_value_metadata(told)
        self._writer.close()


def _array(field: pyarrow.Field, values: Sequence[Any]) -> pyarrow.Array:
    if field.name == "occurred_at":
        values = [datetime.fromisoformat(value) for value in values]
    elif field.name == "amount_cents":
        values = [_amount(value) for value in values]
    return pyarrow.array(values, field.type)


def _amount(value: int | None) -> Decimal | None:
    if value is not None and abs(value) >= 10**_DIGITS:
        raise LedgerFault(f"an amount has more than {_DIGITS} digits, which readers of Parquet do not take: write CSV")
    return None if value is None else Decimal(value)
