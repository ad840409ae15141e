"""Sections: what each part of the configuration may hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo, model_validator

from connectors.hints import Webhooks
from connectors.registry import names
from connectors.signatures import idle, tolerating
from connectors.source import Options
from connectors.times import Duration
from ledger.choices import MAX_WAITING, Choices
from pipeline.addresses import base_address, broker_address, store_address
from pipeline.faults import Unknown
from pipeline.nearest import meant
from pipeline.secret import HOW, Secret, reference

_OF_KIND = {
    "openquota": {"url", "api_key", "requests_per_minute"},
    "embedded": {"conflict_status", "state_merge", "hide_deleted", "limit_over_max", "max_waiting"},
}
"""Keys of `[ledger]` that only one kind of ledger knows."""

_OF_WEBHOOKS = ("scheme", "header", "signature_header", "timestamp_header", "delivery_header", "signed")
"""Keys of a connection's webhook that take the place of what its source declares."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)

CREDENTIALS = ("token", "client_id", "client_secret")


def _read_with(info: ValidationInfo) -> tuple[Mapping[str, str], Path]:
    """The environment and the folder that the configuration is read with."""
    assert info.context is not None
    return info.context["environ"], info.context["folder"]


def _secret(value: Any, info: ValidationInfo) -> Secret:
    return reference(value, *_read_with(info))


def _plain_or_secret(value: Any, info: ValidationInfo) -> str | Secret:
    if isinstance(value, str) and value.strip():
        return str(value)
    return _secret(value, info)


def _table_file(value: Any, info: ValidationInfo) -> TableFile:
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str) and value["file"].strip():
        return TableFile(file=_read_with(info)[1] / value["file"])
    raise ValueError('write { file = "name.csv" }')


def _owners(value: Any, info: ValidationInfo) -> str | TableFile:
    if isinstance(value, str):
        if value in ("source_id", "email"):
            return str(value)
        raise ValueError(f'found {value[:40]!r}; write "source_id", "email" or {{ file = "owners.csv" }}')
    return _table_file(value, info)


def _api_token(value: Any, info: ValidationInfo) -> ApiToken:
    said = dict(value) if isinstance(value, dict) else {}
    name, read_only = said.pop("name", None), said.pop("read_only", False)
    secret = _secret(said or value, info)
    if name is None:
        name = secret.env or (secret.file.stem if secret.file else "")
    if not isinstance(name, str) or not name.strip() or len(name) > 64 or not name.isprintable():
        raise ValueError('name must be text of 1 to 64 characters, like name = "ann"')
    if not isinstance(read_only, bool):
        raise ValueError("read_only must be true or false")  # noqa: TRY004
    return ApiToken(name.strip(), secret, read_only)


def _header_name(value: Any) -> str:
    if isinstance(value, str) and len(value) <= 256 and _TOKEN.fullmatch(value):
        return str(value)
    raise ValueError('write the name of a header without a colon or a blank, like "X-Signature"')


def _currency(value: Any) -> str:
    from deals.money import currency_code

    if not isinstance(value, str):
        raise ValueError('write a currency code as text, like "USD"')  # noqa: TRY004 - pydantic collects ValueErrors
    return currency_code(value)


def _source(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError('write the name of a source as text, like "planhat"')  # noqa: TRY004
    if value not in (known := names()):
        raise ValueError(f"there is no source {value[:40]!r}; {meant(value, known)}")
    return str(value)


SecretSetting: TypeAlias = Annotated[Secret, PlainValidator(_secret)]
Currency: TypeAlias = Annotated[str, PlainValidator(_currency)]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]
HeaderName: TypeAlias = Annotated[str, PlainValidator(_header_name)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
Prefix: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Interval: TypeAlias = Annotated[Duration, Field(ge=timedelta(seconds=1))]


class _Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class TableFile(_Strict):
    """A CSV file beside the configuration."""

    file: Path


class StoreSettings(_Strict):
    """`[store]`: the database. `url` is `sqlite:///file` (made absolute) or `postgresql://user@host/name`."""

    url: Annotated[str, BeforeValidator(store_address)] = Field(
        default="sqlite:///dealsync.db", repr=False, validate_default=True
    )


class BrokerSettings(_Strict):
    """`[broker]`: what rings for workers; `none` when nothing does and the database is polled."""

    url: Annotated[str, BeforeValidator(broker_address)] = Field(default="none", repr=False)


class LedgerSettings(_Strict):
    """`[ledger]`: where events go. `url`, `api_key` and `requests_per_minute` belong to `openquota`.

    `conflict_status`, `state_merge`, `hide_deleted` and `limit_over_max` belong to `embedded`, see
    `ledger.choices.Choices`; so does `max_waiting`, the requests with events that may wait for its database.
    """

    kind: Literal["embedded", "openquota"] = "embedded"
    url: Annotated[str, BeforeValidator(base_address)] = "https://api.openquota.ai/v1"
    api_key: SecretSetting | None = None
    currency: Currency = "USD"
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    conflict_status: Literal[200, 409] = 200
    state_merge: Literal["replace", "merge"] = "replace"
    hide_deleted: bool = False
    limit_over_max: Literal["clamp", "400"] = "clamp"
    max_waiting: int = Field(default=MAX_WAITING, ge=1, le=100_000)

    @model_validator(mode="after")
    def _of_its_kind(self) -> LedgerSettings:
        if self.kind == "openquota" and self.api_key is None:
            raise ValueError(f'kind = "openquota" needs api_key; {HOW}')
        other = "openquota" if self.kind == "embedded" else "embedded"
        if foreign := self.model_fields_set & _OF_KIND[other]:
            raise ValueError(f'{", ".join(sorted(foreign))} can only be set with kind = "{other}"')
        return self

    def choices(self) -> Choices:
        """What the embedded ledger does where its contract leaves a choice."""
        return Choices(self.conflict_status, self.state_merge, self.hide_deleted, self.limit_over_max)


class ApiToken(NamedTuple):
    """Who may use the operations API and the pages: the name that the audit keeps, and whether they only look."""

    name: str
    secret: Secret
    read_only: bool


class ServeSettings(_Strict):
    """`[serve]`: who may use the operations API and the pages; nobody may where there is no token.

    A token is `{ env = "NAME" }` or `{ file = "/path" }`, with `name` (by default the variable's, or the file's without
    its ending) and `read_only` beside it.
    """

    api_tokens: list[Annotated[ApiToken, PlainValidator(_api_token)]] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _told_apart(self) -> ServeSettings:
        for name, times in Counter(one.name for one in self.api_tokens).items():
            if times > 1:
                raise ValueError(
                    f"{times} api_tokens are called {name!r}: the audit could not tell who acted; name them"
                )
        return self


class Webhook(_Strict):
    """`[connections.NAME.webhook]`: how deliveries are told from forgeries; any one of `secrets` verifies.

    What is not set is as the source's own contract says, see `connectors.hints.Webhooks`. `tolerance` bounds the signed
    time. With `workspace_id`, a delivery must say that it comes from there. With `path_segments`, deliveries are taken
    at `/webhooks/NAME/SEGMENT` for any one of them, and nowhere else.
    """

    secrets: list[SecretSetting] = Field(min_length=1, max_length=10)
    path_segments: list[SecretSetting] = Field(default=[], max_length=10)
    scheme: Literal["hmac", "header", "leadlex"] | None = None
    header: HeaderName | None = None
    signature_header: HeaderName | None = None
    timestamp_header: HeaderName | None = None
    delivery_header: HeaderName | None = None
    signed: Literal["body", "timestamp.body", "auto"] | None = None
    tolerance: Interval | None = None
    workspace_id: Text | None = None

    def over(self, declared: Webhooks) -> Webhooks:
        """How deliveries are verified: as the source declares it, but for what is set here."""
        said = {key: getattr(self, key) for key in _OF_WEBHOOKS if getattr(self, key) is not None}
        rules = replace(declared, **said)
        if self.tolerance is None:
            return rules
        past, ahead = tolerating(rules, self.tolerance)
        return replace(rules, past=past, ahead=ahead)

    def without_effect(self, declared: Webhooks) -> list[str]:
        """The keys that are set here and decide nothing."""
        return sorted(self.model_fields_set & idle(self.over(declared)))


class Connection(_Strict):
    """`[connections.NAME]`: one configured account of a source.

    `options` is the source's own options model. `park_limit` is the share of a run's records that may be parked before
    the run stops; `delete_limit` the share of the living deals that a run may delete before its events are held for a
    person, and that all runs of a day may delete before their tombstones are. `rates` and a `file` of `owners` are
    absolute paths; `mapping` is relative to the configuration. `account` names the budget of requests that connections
    share; by default it is the connection's own name.
    """

    source: Annotated[str, PlainValidator(_source)]
    base_url: Annotated[str, BeforeValidator(base_address)]
    token: SecretSetting | None = None
    client_id: Annotated[str | Secret, PlainValidator(_plain_or_secret)] | None = None
    client_secret: SecretSetting | None = None
    mapping: Text | None = None
    pull_every: Interval = timedelta(minutes=5)
    sweep_every: Interval = timedelta(hours=24)
    reconcile_every: Interval = timedelta(hours=24)
    currency_policy: Literal["park", "convert", "pass"] = "park"
    default_currency: Currency | None = None
    rates: Annotated[TableFile, PlainValidator(_table_file)] | None = None
    owners: Annotated[Literal["source_id", "email"] | TableFile, PlainValidator(_owners)] = "source_id"
    owner_policy: Literal["park", "null"] = "park"
    external_id_prefix: Prefix | None = None
    park_limit: float = Field(default=0.2, ge=0, le=1)
    delete_limit: float = Field(default=0.1, ge=0, le=1)
    account: Text | None = None
    webhook: Webhook | None = None
    options: Options

    @model_validator(mode="after")
    def _rates_where_converted(self) -> Connection:
        if (self.currency_policy == "convert") != (self.rates is not None):
            raise ValueError('rates = { file = "rates.csv" } and currency_policy = "convert" need each other')
        return self

    def credentials(self) -> dict[str, str]:
        """The secrets themselves, by their keys. Raises `SettingsError` for one that is not there."""
        given = {name: getattr(self, name) for name in CREDENTIALS}
        return {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in given.items()
            if value is not None
        }


class Settings(_Strict):
    """The whole configuration. `file` is where it was read, `folder` what its relative paths start from."""

    store: StoreSettings = Field(default_factory=lambda: StoreSettings())
    broker: BrokerSettings = BrokerSettings()
    ledger: LedgerSettings = LedgerSettings()
    serve: ServeSettings = ServeSettings()
    connections: dict[Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")], Connection] = Field(
        default={}
    )
    file: Path
    folder: Path

    @model_validator(mode="after")
    def _told_apart(self) -> Settings:
        prefixes = Counter(one.external_id_prefix or name for name, one in self.connections.items())
        for prefix, times in prefixes.items():
            if times > 1:
                raise ValueError(
                    f"{times} connections give their deals the external_id_prefix {prefix!r}; deals would be mixed up"
                )
        return self

    def connection(self, name: str) -> Connection:
        """A configured connection. Raises `Unknown` with the nearest known name."""
        try:
            return self.connections[name]
        except KeyError:
            shown = re.sub(r"[^\x20-\x7e]", "?", name[:64])
            raise Unknown(f"there is no connection {shown!r} in {self.file}; {meant(name, self.connections)}") from None


def section(place: tuple[str, ...]) -> type[BaseModel] | None:
    """The model that says which keys are known at a key path; None where keys are free or unknown."""
    match place:
        case ():
            return Settings
        case ("store",):
            return StoreSettings
        case ("broker",):
            return BrokerSettings
        case ("ledger",):
            return LedgerSettings
        case ("serve",):
            return ServeSettings
        case ("connections", _):
            return Connection
        case ("connections", _, "webhook"):
            return Webhook
    return None
