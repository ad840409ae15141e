"""Secrets are found in every form they travel in; harmless text is left alone."""

from __future__ import annotations

import base64
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.redaction import LONGEST, clean, escaped, guard, scrub, telling

CANARY = 'cAnary/+s3cr3t=ünlöck"me\\'
guard(CANARY)
DATA = CANARY.encode()

FORMS = {
    "raw": CANARY,
    "url": quote(CANARY, safe=""),
    "url lower case": quote(CANARY, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
    "form": quote_plus(CANARY),
    "base64": base64.b64encode(DATA).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(DATA).decode(),
    "basic, as user": base64.b64encode(DATA + b":").decode(),
    "basic, as password": base64.b64encode(b"me:" + DATA).decode(),
    "basic, elsewhere": base64.b64encode(b"user:" + DATA + b"!").decode(),
    "hex": DATA.hex(),
    "upper hex": DATA.hex().upper(),
    "repr": repr(CANARY),
}


def remains(text: str) -> bool:
    """Whether six characters in a row of any form of the canary are still there."""
    pieces = {form[at : at + 6] for form in (CANARY, *FORMS.values()) for at in range(4, len(form) - 10)}
    return any(piece in text for piece in pieces if not piece.startswith("%C3"))


@pytest.mark.parametrize("form", FORMS)
def test_a_live_secret_is_hidden_in_every_form(form: str):
    assert remains(FORMS[form]), "the search itself must be able to find it"
    assert not remains(scrub(f"sent {FORMS[form]} to the other side"))
    assert not remains(str(clean({"message": [f"x{FORMS[form]}y"]})))


@settings(deadline=None, max_examples=60)
@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_base64_of_any_text_around_the_secret_does_not_show_it(before: bytes, after: bytes):
    shown = scrub(base64.b64encode(before + DATA + after).decode())
    assert base64.b64encode(DATA).decode()[4:-6] not in shown
    assert "[secret]" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pass@host/db", "postgresql://host/db"),
        ("redis://:p%40ss@host:6379/0", "redis://host:6379/0"),
        ("amqp://me:a@b@host//", "amqp://host//"),
        ("GET /deals?limit=10&access_token=abc&x=1", "GET /deals?limit=10&access_token=[secret]&x=1"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: [secret]"),
        ("{'authorization': 'Basic dTpw'}", "{'authorization': '[secret]'}"),
        ("host=db password=hunter2 dbname=x", "host=db password=[secret] dbname=x"),
        ("sent with bearer abcdefghijkl", "sent with bearer [secret]"),
    ],
)
def test_credentials_are_known_by_their_place(text: str, shown: str):
    assert scrub(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "see https://docs.example/mail?to=a@b.example",
        "dedup_key=planhat:5f#3:abc",
        "the stage 'Closed Won' of planhat-eu:5f01 is unknown; basic information is missing",
        "2 parked: run `dealsync parked list`",
    ],
)
def test_harmless_text_stays_as_it_is(text: str):
    assert scrub(text) == text


def test_keys_that_name_a_secret_hide_any_value_under_them():
    found = clean({"X-Api-Key": 1, "headers": {"Set-Cookie": "a=b", "Accept": "json"}, "client_secret": None})
    assert found == {
        "X-Api-Key": "[secret]",
        "headers": {"Set-Cookie": "[secret]", "Accept": "json"},
        "client_secret": "[secret]",
    }
    assert not telling("dedup_key")


def test_a_number_that_is_a_secret_is_hidden_and_other_numbers_stay_numbers():
    guard("60254417")
    assert clean([60254417, 60254418, 1.5, True, None, float("nan")]) == ["[secret]", 60254418, 1.5, True, None, "nan"]


def test_values_are_held_to_a_kilobyte_and_a_secret_at_the_cut_is_not_cut():
    text = clean("x" * 1020 + CANARY)
    assert len(text) == 1024
    assert text.endswith("xxx[se…")
    assert clean("y" * (LONGEST + 1)) == f"[a text of {LONGEST + 1} characters]"


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_what_a_terminal_would_act_on_is_written_out(text: str):
    shown = escaped(text)
    assert all(ord(char) >= 32 and char not in "\x7f\x9b\u2028\u202e" for char in shown)
    assert escaped("a\x1b[31m\r\n\u202e") == "a\\x1b[31m\\r\\n\\u202e"
