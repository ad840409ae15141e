"""What a delivery of a Planhat automation says, and what it does not."""

from __future__ import annotations

import pytest

from connectors.hints import Hint
from connectors.planhat.webhook import hear

BODY = b'{"v":1,"tenant":"acme","model":"Deal","op":"%s","id":"%s","updatedAt":"%s"}'


def test_an_update_names_the_record_and_the_version_it_has():
    heard = hear(BODY % (b"update", b"d1", b"2026-04-22T10:15:30.000Z"))
    assert heard.hints == (Hint("d1", "2026-04-22T10:15:30.000Z"),)
    assert (heard.event, heard.known, heard.workspace) == ("Deal.update", True, "acme")


def test_a_delete_names_no_version_since_its_fields_no_longer_resolve():
    assert hear(BODY % (b"delete", b"d1", b"undefined")).hints == (Hint("d1", None, deleted=True),)


@pytest.mark.parametrize("record_id", [b"", b"undefined"])
def test_an_id_that_did_not_resolve_hints_at_nothing(record_id):
    assert hear(BODY % (b"update", record_id, b"undefined")).hints == ()


def test_another_model_is_acknowledged_and_not_looked_at():
    heard = hear(b'{"model":"Company","op":"update","id":"c1"}')
    assert (heard.known, heard.hints, heard.event) == (False, (), "Company.update")


@pytest.mark.parametrize("body", [b"", b"[]", b"not json", b"[" * 100_000, b'{"id":1,"model":"Deal","op":"update"}'])
def test_what_the_template_did_not_make_is_an_error(body):
    with pytest.raises(ValueError, match="template"):
        hear(body)
