"""The plain script: httpx reads, pydantic checks, the ORM merges row by row, one commit a page."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from sqlalchemy import JSON, Numeric, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

PAGE = 2_000


class Deal(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(alias="_id")
    name: str | None = None
    company_id: str = Field(alias="companyId")
    company_name: str | None = Field(None, alias="companyName")
    external_id: str | None = Field(None, alias="externalId")
    source_id: str | None = Field(None, alias="sourceId")
    stage: str | None = None
    owner_id: str | None = Field(None, alias="ownerId")
    followers: list[str] = []
    mrr: Decimal | None = None
    arr: Decimal | None = None
    total: Decimal | None = None
    fees: Decimal | None = None
    currency: str | None = None
    close_date: datetime | None = Field(None, alias="closeDate")
    renewal_date: datetime | None = Field(None, alias="renewalDate")
    start_date: datetime | None = Field(None, alias="startDate")
    end_date: datetime | None = Field(None, alias="endDate")
    subscriptions_count: int = Field(0, alias="subscriptionsCount")
    fees_count: int = Field(0, alias="feesCount")
    active_subscriptions_count: int = Field(0, alias="activeSubscriptionsCount")
    comment: str | None = None
    custom: dict[str, Any] = {}
    created_at: datetime = Field(alias="createdAt")
    updated_at: datetime = Field(alias="updatedAt")


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, Decimal: Numeric(18, 4)}  # noqa: RUF012


class DealRow(Base):
    __tablename__ = "deals"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    company_id: Mapped[str]
    company_name: Mapped[str | None]
    external_id: Mapped[str | None]
    source_id: Mapped[str | None]
    stage: Mapped[str | None]
    owner_id: Mapped[str | None]
    followers: Mapped[list[str]]
    mrr: Mapped[Decimal | None]
    arr: Mapped[Decimal | None]
    total: Mapped[Decimal | None]
    fees: Mapped[Decimal | None]
    currency: Mapped[str | None]
    close_date: Mapped[datetime | None]
    renewal_date: Mapped[datetime | None]
    start_date: Mapped[datetime | None]
    end_date: Mapped[datetime | None]
    subscriptions_count: Mapped[int]
    fees_count: Mapped[int]
    active_subscriptions_count: Mapped[int]
    comment: Mapped[str | None]
    custom: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


def main(base_url: str, database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    Base.metadata.create_all(engine)
    deals = TypeAdapter(list[Deal])
    offset = 0
    with httpx.Client(base_url=base_url, timeout=60) as client, Session(engine) as session:
        while page := deals.validate_json(fetch(client, offset)):
            for deal in page:
                session.merge(DealRow(**deal.model_dump()))
            session.commit()
            session.expunge_all()
            offset += len(page)


def fetch(client: httpx.Client, offset: int) -> bytes:
    answer = client.get("/deals", params={"sort": "_id", "limit": PAGE, "offset": offset})
    return answer.raise_for_status().content


if __name__ == "__main__":
    begun = time.perf_counter()
    main(*sys.argv[1:])
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 3)}))
