"""Whatever shape a tenant has - its envelopes, orders, thin rows - after any history the ledger equals it."""

from __future__ import annotations

from importlib import import_module
from random import Random

import pytest

from connectors.source import Source
from tests.conformance.test_history import HISTORIES, lived
from tests.conformance.world import Worlds, every_source


@every_source
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_after_any_history_the_ledger_equals_the_tenant_whatever_its_shape(world: Worlds, source: Source, seed: int):
    random = Random(f"{source.name} {seed}")
    one = world(source, deals=random.choice((1, 8, 23)), seed=seed)
    switches = getattr(one.crm, "switches", None)
    shapes = getattr(import_module(type(switches).__module__), "SHAPES", {})
    if not shapes:
        pytest.skip(f"the simulator of {source.name} has one shape only")
    for name, values in shapes.items():
        setattr(switches, name, random.choice(values))
    lived(one, seed, 40)
