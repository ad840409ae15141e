"""A source is what its folder says: everything that the others promise is there, and answers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from connectors.faults import Fault, Misconfigured
from connectors.simulated_crm import SimulatedCrm
from connectors.source import Absent, Found, Record, Source
from deals.identity import decode_json
from mappings.language import parse
from pipeline.mapping_files import shipped
from tests.conformance.world import FAR, World, Worlds, every_source, id_of

TESTS = Path(__file__).parents[1]
CONNECTORS = TESTS.parent / "connectors"
MEMBERS = {*SimulatedCrm.__annotations__, *(name for name in vars(SimulatedCrm) if name[0] != "_")}


@every_source
def test_its_folder_holds_what_every_source_has(source: Source):
    folder = CONNECTORS / source.name
    for name in ("options.py", "api.py", "check.py", "webhook.py", "simulator.py", "README.md"):
        assert (folder / name).is_file(), f"{name} is missing"
    assert len(list((folder / "samples").glob("*.json"))) >= 10
    assert parse(shipped(source.name), name=source.name).kinds.keys() == set(source.kinds)
    promises = source.promises
    assert all((promises.cursor, promises.limits, promises.changes_silently))


@every_source
def test_its_simulator_can_be_made_to_do_what_every_simulated_crm_can(world: Worlds, source: Source):
    crm = world(source).crm
    assert {name for name in MEMBERS if not hasattr(crm, name)} == set()
    assert len(crm.stages) >= 3
    assert any(set(crm.credentials) <= set(keys) for keys in source.credentials)
    known = set(crm.ids())
    assert {id_of(record, known) for record in crm.truth()} == known


@every_source
def test_each_switch_of_its_simulator_is_thrown_by_a_test(source: Source):
    """A behaviour that the contract names or assumes, and that no test tries, is a promise that nobody keeps."""
    switches = getattr(source.simulator(deals=0), "switches", None)
    tests = [*(TESTS / "connectors" / source.name).glob("*.py"), *(TESTS / "conformance").glob("*.py")]
    tried = "\n".join(file.read_text() for file in tests)
    names = [one.name for one in dataclasses.fields(switches)] if dataclasses.is_dataclass(switches) else []
    assert [name for name in names if not re.search(rf"\b{name}\b", tried)] == []


@every_source
def test_the_same_seed_makes_the_same_tenant(source: Source):
    made = [list(source.simulator(seed=seed, deals=7).truth()) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@every_source
def test_a_healthy_tenant_passes_every_check(world: Worlds, source: Source):
    findings = list(world(source).open_reader().check())
    assert [finding for finding in findings if not finding.ok] == []
    assert {"address", "credentials", "rights"} <= {finding.what for finding in findings}


@every_source
def test_wrong_credentials_are_found_refused_and_never_repeated(world: Worlds, source: Source):
    one = world(source)
    wrong = dict.fromkeys(one.crm.credentials, "canary-of-a-secret")
    findings = list(one.open_reader(credentials=wrong).check())
    bad = [finding for finding in findings if not finding.ok]
    assert [finding.fault for finding in bad][:1] == ["refused"]
    assert not any("canary" in finding.message for finding in findings)


@every_source
def test_a_single_read_finds_what_is_there_and_proves_what_is_not(world: Worlds, source: Source):
    one = world(source)
    reader, known = one.open_reader(), one.crm.ids()
    found = reader.one(known[0])
    assert isinstance(found, Found)
    assert found.record.source_id == known[0]
    assert decode_json(found.record.raw.decode()) == next(
        record for record in one.crm.truth() if id_of(record, set(known)) == known[0]
    )
    unheard = next(id for end in "0123456789" if (id := known[0][:-1] + end) not in known)
    absent = reader.one(unheard)
    assert isinstance(absent, Absent)
    assert absent.proof
    reader.close()


def read(one: World) -> dict[str, Record]:
    reader = one.open_reader()
    try:
        return {record.source_id: record for page in reader.everything(None) for record in page.records}
    finally:
        reader.close()


@every_source
def test_records_are_the_sources_own_bytes(world: Worlds, source: Source):
    one = world(source)
    truth = {id_of(record, set(one.crm.ids())): record for record in one.crm.truth()}
    records = read(one)
    assert records.keys() == truth.keys()
    for source_id, record in records.items():
        shown = decode_json(record.raw.decode())
        assert shown.items() <= truth[source_id].items(), "a list row says something else than a single read"
        assert record.kind in source.kinds


@every_source
def test_versions_grow_as_text(world: Worlds, source: Source):
    one = world(source)
    deal, last = one.crm.ids()[0], ""
    for step in range(12):
        one.crm.set_amount(deal, Decimal(step))
        one.crm.clock.advance(FAR / 24)
        version = read(one)[deal].version
        if version is None:
            continue
        assert version > last
        last = version


@every_source
def test_its_reference_data_can_be_read(world: Worlds, source: Source):
    one = world(source)
    reader = one.open_reader()
    for name in source.references:
        entries = [entry for page in reader.reference(name) for entry in page]
        assert entries, f"there are no {name}"
        assert len({entry.key for entry in entries}) == len(entries)
        bodies = [msgspec.json.decode(entry.raw, type=dict) for entry in entries]
        if name == "users":
            assert all({"email", "name"} >= body.keys() - {"inactive"} for body in bodies)
            assert any(body.get("name") for body in bodies)
    with pytest.raises(Misconfigured):
        list(reader.reference("no such thing"))
    reader.close()


@every_source
@pytest.mark.parametrize("cursor", [{}, {"unheard": 1}, {"v": "x", "offset": -1}])
def test_a_cursor_that_nobody_wrote_is_no_reason_to_miss_anything(world: Worlds, source: Source, cursor: dict):
    one = world(source)
    reader = one.open_reader()
    seen: Sequence[str] = []
    try:
        seen = [record.source_id for page in reader.changed(cursor) for record in page.records]
    except Fault:
        return
    assert set(seen) == set(one.crm.ids())
