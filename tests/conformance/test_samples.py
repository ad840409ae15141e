"""Each sample of a source's records becomes, through the shipped table, the state that was written down beside it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.registry import sources
from connectors.source import Source
from deals.identity import canonical
from deals.state import STANDARD, json_value, wire
from mappings.language import Mapping, parse
from mappings.mapper import Mapped, Mapper, Rules, Unmappable
from pipeline.mapping_files import shipped
from tests.conformance.world import every_source

ROOT = Path(__file__).parents[2]
SAMPLES = [(name, file) for name in sources() for file in sorted((ROOT / f"connectors/{name}/samples").glob("*.json"))]

each_sample = pytest.mark.parametrize(("name", "file"), SAMPLES, ids=lambda part: getattr(part, "stem", part))


def load(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(file.read_text(), parse_float=Decimal)
    return loaded


def table(name: str) -> Mapping:
    return parse(shipped(name), name=f"mappings/{name}.toml")


@each_sample
def test_a_sample_becomes_what_is_written_beside_it(name: str, file: Path):
    sample = load(file)
    mapper = Mapper(table(name), Rules(**sample["settings"]))
    result = mapper.map(sample["kind"], sample["given"])
    if sample["becomes"] is None:
        assert isinstance(result, Unmappable), result
        assert [problem.reason for problem in result.problems] == sample["parks"]
        return
    assert isinstance(result, Mapped), result
    assert canonical(wire(result.state)) == canonical(json_value(sample["becomes"]))
    assert sorted(result.flags) == sample.get("flags", [])
    assert sorted(result.drift) == sample["unclaimed"]


@each_sample
def test_a_sample_says_what_it_shows_in_whole_states(name: str, file: Path):
    sample = load(file)
    assert sample["about"].endswith(".")
    assert (sample["becomes"] is None) == bool(sample.get("parks"))
    assert sample["becomes"] is None or set(STANDARD) <= sample["becomes"].keys()


def documented(name: str) -> list[str]:
    """The deal's fields by the tables of the contract's section on them."""
    contract = (ROOT / f"docs/contracts/{name}.md").read_text()
    section = re.search(r"^## \d+\. (?:Deal|Opportunity) fields\n(.*?)^## ", contract, re.MULTILINE | re.DOTALL)
    assert section is not None, "the contract has no section on the deal's fields"
    cells = re.findall(r"^\| (`[^|]*)\|", section[1], re.MULTILINE)
    return [field.split(".")[0] for cell in cells for field in re.findall(r"`([^`]+)`", cell)]


@every_source
def test_every_documented_field_is_mapped_or_ignored_with_a_reason(source: Source):
    rule = table(source.name).kinds[source.kinds[0]]
    fields = documented(source.name)
    assert len(fields) >= 15
    claimed = {*rule.fields(), *rule.ignored}
    if rule.custom_fields is not None and rule.custom_fields.prefix is not None:
        claimed |= {field for field in fields if field.startswith(rule.custom_fields.prefix)}
    assert [field for field in fields if field not in claimed] == []


@every_source
def test_what_is_ignored_is_ignored_for_a_reason(source: Source):
    for rule in table(source.name).kinds.values():
        assert [key for key, reason in rule.ignored.items() if len(reason.split()) < 3] == []
