"""The simulated list endpoint's grammar: the schema of each entity, and what filters and sorts it therefore allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.monaco.simulated_tenant import Organization
from connectors.simulated_records import Fields

_EMPTY: Final = ("is_empty", "is_not_empty")
_OPERATORS: Final = {
    "string": ("contains", "not_contains", "is", "is_not", *_EMPTY),
    "enum": ("is", "is_not", *_EMPTY),
    "uuid": ("is", "is_not", *_EMPTY),
    "number": ("equals", "greater_than", "less_than", *_EMPTY),
}
"""Operators by field type (section 3.2); those of times are a switch."""

LOWER_BOUNDS: Final = frozenset({"greater_than", "after", "is_after", "on_or_after"})
"""Operators that keep what is later."""

_LABELS: Final = {"negotiation": "Negotiation", "closed_won": "Closed Won", "closed_lost": "Closed Lost"}


class Rejected(Exception):
    """A request is refused with this status; `loc` says which part of the body, where Monaco would."""

    def __init__(self, status: int, message: str, *loc: str | int) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.loc = loc


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """One rule of the flat filter array."""

    field: str
    condition: str
    value: Any = None


class Asked(msgspec.Struct):
    """The body of a list request (section 3)."""

    filters: list[Rule] = []
    sort: str = "-created_at"
    page: int = 1
    page_size: int = 50


def schema(organization: Organization, entity: str) -> list[Fields]:
    """The field descriptors of an entity (section 7)."""
    return _opportunity_fields(organization) if entity == "opportunities" else _account_fields(organization)


def _opportunity_fields(organization: Organization) -> list[Fields]:
    switches = organization.switches
    stages = [{"key": stage, "display_value": _LABELS.get(stage, stage)} for stage in organization.stages]
    fields = [
        _field("ID", "id", "uuid", filterable=switches.id_filterable),
        _field("Name", "name", "string"),
        _field("Stage", "stage", "enum", words=stages),
        _field("Owner", "owner", "uuid", words=_directory(organization)),
        _field("Close date", "estimated_close_date", "date", operators=("before", "after", *_EMPTY)),
        _field("Created", "created_at", "datetime", filterable=False),
    ]
    if switches.updated_at == "present":
        updated = _field("Updated", "updated_at", "datetime", operators=switches.updated_at_operators)
        fields.append(updated | {"sortable": switches.updated_at_sortable})
    for key, custom in organization.make.custom_fields.items():
        words = [{"key": word, "display_value": label} for word, label in custom.get("words", {}).items()]
        fields.append(_field(custom["name"], key, custom["type"], words=words))
    return fields


def _account_fields(organization: Organization) -> list[Fields]:
    return [
        _field("Name", "name", "string"),
        _field("Status", "status", "enum"),
        _field("Owner", "owner", "uuid", words=_directory(organization)),
        _field("Employees", "employee_count", "number") | {"parent": "company"},
        _field("Created", "created_at", "datetime", filterable=False),
    ]


def _directory(organization: Organization) -> list[Fields]:
    users = organization.make.users
    return [{"key": user["id"], "display_value": f"{user['first_name']} {user['last_name']}"} for user in users]


def _field(
    name: str, key: str, kind: str, *, words: Any = (), operators: Any = None, filterable: bool = True
) -> Fields:
    allowed = list(_OPERATORS.get(kind, _EMPTY) if operators is None else operators) if filterable else []
    described: Fields = {"name": name, "key": key, "type": kind, "filterable": bool(allowed), "sortable": True,
                         "allowed_operators": allowed}  # fmt: skip
    return described | ({"enum_field_settings": {"allowed_values": list(words)}} if words else {})


def asked(body: bytes) -> Asked:
    """The body of a list request, with its defaults. Raises `Rejected` for what is none."""
    try:
        return msgspec.json.decode(body or b"{}", type=Asked)
    except msgspec.DecodeError:
        raise Rejected(422, "the body is not a list request", "body") from None


def checked(organization: Organization, entity: str, what: Asked) -> Asked:
    """The request, once its page, sort and filters are all allowed; raises `Rejected`."""
    switches = organization.switches
    if what.page < 1:
        raise Rejected(422, "page must be at least 1", "body", "page")
    if what.page_size < 1 or (what.page_size > switches.max_page_size and switches.over_limit == "refuse"):
        raise Rejected(422, f"page_size must be between 1 and {switches.max_page_size}", "body", "page_size")
    known = {field["key"]: field for field in schema(organization, entity)}
    sort = known.get(what.sort.removeprefix("-"))
    if sort is None or not sort["sortable"]:
        raise Rejected(422, f"cannot sort by {what.sort}", "body", "sort")
    for number, rule in enumerate(what.filters):
        field = known.get(rule.field)
        if field is None or rule.condition not in field["allowed_operators"]:
            raise Rejected(422, f"cannot filter {rule.field} by {rule.condition}", "body", "filters", number)
        if rule.condition not in _EMPTY and rule.value is None:
            raise Rejected(422, f"{rule.condition} needs a value", "body", "filters", number)
        if switches.refuses_dates and field["type"] in ("date", "datetime"):
            raise Rejected(422, f"cannot read {rule.value!r} as a time", "body", "filters", number)
    return what


def keeps(record: Fields, rule: Rule, *, exclusive: bool) -> bool:
    """Whether a record meets a rule; several rules are joined by AND."""
    value = record.get(rule.field)
    if isinstance(value, dict):
        value = value.get("id")
    if rule.condition in LOWER_BOUNDS and isinstance(value, str):
        value, bound = _fine(value), _fine(str(rule.value))
        return value > bound or (value == bound and not exclusive)
    return _CONDITIONS.get(rule.condition, _never)(value, rule.value)


def _fine(time: str) -> str:
    """A time with milliseconds, as text that compares as the times do."""
    return time if "." in time else time.replace("Z", ".000Z")


def _never(_value: Any, _wanted: Any) -> bool:
    return False


def _number(value: Any) -> Decimal:
    return Decimal(value) if isinstance(value, int | Decimal) else Decimal("NaN")


_CONDITIONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "is": lambda value, wanted: value == wanted,
    "is_not": lambda value, wanted: value != wanted,
    "contains": lambda value, wanted: str(wanted) in str(value or ""),
    "not_contains": lambda value, wanted: str(wanted) not in str(value or ""),
    "is_empty": lambda value, _: value in (None, "", []),
    "is_not_empty": lambda value, _: value not in (None, "", []),
    "equals": lambda value, wanted: _number(value) == _number(wanted),
    "greater_than": lambda value, wanted: value is not None and _number(value) > _number(wanted),
    "less_than": lambda value, wanted: value is not None and _number(value) < _number(wanted),
    "before": lambda value, wanted: value is not None and str(value) < str(wanted),
}
