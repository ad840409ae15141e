"""A right that is missing (403) stops what needs it and nothing else; a key nobody knows (401) stops everything."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from connectors.faults import Refused
from connectors.registry import sources
from connectors.simulated_wire import Request, refused
from connectors.source import Source
from mappings.language import parse
from pipeline.mapping_files import shipped
from pipeline.status import status
from tests.conformance import oracles
from tests.conformance.world import World, Worlds

LOOKED_UP = "looked_up_by_the_kit"

every_source_with_references = pytest.mark.parametrize(
    "source", [one for one in sources().values() if one.references], ids=lambda source: source.name
)


def looking_up(source: Source, name: str) -> str:
    """The shipped table with one more custom key in every kind, looked up in this reference data by the owner's id."""
    text = shipped(source.name)
    for kind, rule in parse(text, name=source.name).kinds.items():
        place = rule.owner.sources[0]
        entry = f'{LOOKED_UP} = {{ from = "{place}", look_up = "{name}", take = "name", as = "json" }}'
        text, found = re.subn(rf"(?m)^\[{kind}\.custom\].*$", lambda line, entry=entry: f"{line[0]}\n{entry}", text)
        assert found == 1
    return text


def beside_the_deals(one: World, name: str) -> Callable[[Request], bool] | None:
    """Picks the requests that read this reference data, and none of those that read deals; None where it has none."""
    reader = one.open_reader()
    for _ in reader.changed(None):
        pass
    needed = {call.path for call in one.crm.log}
    begun = len(one.crm.log)
    for _ in reader.reference(name):
        pass
    reader.close()
    if {call.path for call in one.crm.log[begun:]} <= needed:
        return None
    ids = set(one.crm.ids())
    return lambda request: request.path not in needed and request.segments[-1] not in ids


def lacking(one: World) -> list[str]:
    return [line.partition(" ")[0] for line in status(one.app)["connections"][0]["lacks"]]


@every_source_with_references
def test_what_deals_refer_to_may_be_refused_and_the_deals_are_read_all_the_same(world: Worlds, source: Source):
    tried = 0
    for name in source.references:
        one = world(source, deals=9, table=looking_up(source, name))
        where = beside_the_deals(one, name)
        if where is None:
            continue
        tried += 1
        one.crm.faults.sometimes(1.0, refused(403), where)
        pulled, swept = one.pull(), one.sweep()
        assert [[line.partition(" ")[0] for line in run.lacks] for run in (pulled, swept)] == [[name], [name]]
        assert (pulled.clean, pulled.parked, swept.events, lacking(one)) == (False, 0, 0, [name])
        one.publish()
        oracles.agrees(one)
        one.crm.faults.clear()
        assert (one.pull().lacks, lacking(one)) == ([], [])
    assert tried


@every_source_with_references
def test_a_key_that_is_not_known_stops_the_connection_even_where_only_reference_data_was_asked_for(
    world: Worlds, source: Source
):
    name = next(iter(source.references))
    one = world(source, deals=9, table=looking_up(source, name))
    one.crm.faults.sometimes(1.0, refused(401))
    with pytest.raises(Refused):
        one.pull()
    assert status(one.app)["connections"][0]["state"] == "refused"
    assert oracles.told(one) == {}
