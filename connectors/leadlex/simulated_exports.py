"""The simulated CSV export: another schema than the JSON, cut and garbled as contract section 15 allows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Final

from connectors.leadlex.simulated_switches import Switches
from connectors.leadlex.simulated_tenant import slug
from connectors.simulated_records import Fields

COLUMNS: Final = ("id", "name", "pipeline_id", "stage_id", "status", "value", "currency", "company_name", "owner_email",
                  "created_at", "closed_at")  # fmt: skip
EXTRA: Final = ("updated_at", "owner_id")


def exported(
    deals: Iterable[Fields],
    switches: Switches,
    *,
    columns: Iterable[str] = COLUMNS,
    emails: Mapping[str, str],
    companies: Mapping[str, str],
) -> bytes:
    """The CSV of some deals, with whatever the switches do to it."""
    names = list(columns)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for deal in deals:
        row = _row(deal, switches, emails, companies)
        writer.writerow([row[name] for name in names])
    body = out.getvalue().encode()
    if switches.csv_cut == "mid_row":
        body = body[: len(body) - 12]
    elif switches.csv_cut == "between_rows":
        body = body[: body.rfind(b"\r\n", 0, len(body) // 2) + 2]
    return (b"\xef\xbb\xbf" if switches.csv_bom else b"") + body


def _row(deal: Fields, switches: Switches, emails: Mapping[str, str], companies: Mapping[str, str]) -> Fields:
    return {
        "id": deal["id"] if switches.csv_ids == "same" else f"deal_{deal['id'][:6]}",
        "name": deal["name"],
        "pipeline_id": f"pipe_{slug(deal['pipeline'])}",
        "stage_id": f"stage_{slug(deal['stage'])}",
        "status": "open" if deal["status"] == "active" else deal["status"],
        "value": deal["estimated_value"],
        "currency": deal.get("currency"),
        "company_name": companies.get(deal.get("related_company_id") or ""),
        "owner_email": emails.get(deal["owner_user_id"] or ""),
        "created_at": deal["created_date"],
        "closed_at": deal.get("closed_date"),
        "updated_at": deal["updated_date"],
        "owner_id": deal["owner_user_id"],
    }
