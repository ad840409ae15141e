"""Every fault has its exit code, and what has none is a bug."""

from __future__ import annotations

import importlib
import inspect

import pytest

from connectors import faults as source
from edge.exits import FINDINGS, Failed, code_of, told
from ledger import port as ledger
from mappings.language import MappingError
from pipeline import faults as pipeline
from pipeline.summary import Summary

CODES = [
    (pipeline.Unknown(), 2),
    (pipeline.SettingsError(["a", "b"]), 3),
    (pipeline.StoreUnready(), 3),
    (source.Misconfigured(), 3),
    (MappingError(("a",)), 3),
    (source.Refused(), 4),
    (source.Denied(), 4),
    (ledger.LedgerRefused(), 4),
    (pipeline.Stopped("too many", Summary(run=1, connection="a")), 5),
    (source.Unavailable(), 6),
    (source.RateLimited(retry_after_s=3), 6),
    (source.Unintelligible(), 6),
    (ledger.LedgerUnavailable(), 6),
    (ledger.LedgerPaced("in a minute", 60.0), 6),
    (pipeline.StoreUnavailable(), 6),
    (pipeline.Busy(), 7),
    (pipeline.StaleLease(), 7),
    (pipeline.Interrupted(), 130),
    (Failed("x", 8), 8),
]


@pytest.mark.parametrize(("fault", "code"), CODES, ids=lambda value: type(value).__name__)
def test_a_fault_ends_a_command_with_its_code(fault: BaseException, code: int):
    assert code_of(fault) == code


def test_no_fault_class_is_without_a_code():
    known = {type(fault) for fault, _ in CODES}
    roots = {source.Fault, pipeline.PipelineFault, ledger.LedgerFault}
    for name in ("connectors.faults", "pipeline.faults", "ledger.port"):
        for _, found in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(found, Exception) and found not in roots:
                assert found in known, f"{found.__name__} needs a line in the table of exit codes, and one here"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError(), ZeroDivisionError()])
def test_anything_else_is_a_bug(error: Exception):
    assert code_of(error) is None


def test_every_kind_of_finding_has_a_code():
    assert FINDINGS == {"refused": 4, "unavailable": 6, "unintelligible": 6, "misconfigured": 3}


def test_each_problem_is_a_line_of_its_own():
    assert told(pipeline.SettingsError(["a", "b"])) == ["a", "b"]
    assert told(source.Refused("no\n\nway")) == ["no", "way"]
    assert told(source.Refused()) == ["The source refuses our credentials or our rights."]
