"""Access: whose token and whose session it is, for how long, and nothing that anybody could make up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.access import SESSION_S, SHORTEST, Access, Visitor, proven
from pipeline.faults import SettingsError
from pipeline.secret import Secret
from pipeline.sections import ApiToken

ANN, BOB = "a" * SHORTEST, "bob-and-only-bob-knows-this"


class Clock:
    def __init__(self) -> None:
        self.at_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at_s


def access(clock: Callable[[], float], **tokens: str) -> Access:
    secrets = {name.upper(): text for name, text in tokens.items()}
    named = [
        ApiToken(name, Secret(environ=secrets, env=name.upper(), place=f"of {name}"), name == "bob") for name in tokens
    ]
    return Access(named, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def both(clock: Clock) -> Access:
    return access(clock, ann=ANN, bob=BOB)


def test_a_token_is_somebody_s_or_nobody_s(both: Access):
    assert both.by_token(ANN) == Visitor("ann", may_act=True)
    assert both.by_token(BOB) == Visitor("bob", may_act=False)
    for wrong in ("", ANN[:-1], ANN + "a", ANN.upper(), BOB + " ", "\ud800", "\0"):
        assert both.by_token(wrong) is None
        assert both.begin(wrong) is None


def test_a_session_is_its_token_s_and_lasts_its_hours(both: Access, clock: Clock):
    cookie = both.begin(BOB)
    assert cookie is not None
    assert BOB not in cookie
    session = both.by_session(cookie)
    assert session is not None
    assert session.visitor == Visitor("bob", may_act=False)
    clock.at_s += SESSION_S - 1
    assert both.by_session(cookie) == session
    clock.at_s += 1
    assert both.by_session(cookie) is None


def test_a_session_is_good_in_every_process_until_its_token_is_taken_away(both: Access, clock: Clock):
    cookie = both.begin(ANN) or ""
    assert access(clock, ann=ANN).by_session(cookie) == both.by_session(cookie)
    assert access(clock, ann=ANN[:-1] + "b", bob=BOB).by_session(cookie) is None
    assert access(clock, bob=BOB).by_session(cookie) is None


@given(st.data())
def test_a_cookie_that_was_changed_anywhere_is_nobody_s(data: st.DataObject):
    clock = Clock()
    both = access(clock, ann=ANN, bob=BOB)
    cookie = both.begin(ANN) or ""
    at = data.draw(st.integers(0, len(cookie) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != cookie[at]))
    assert both.by_session(cookie[:at] + other + cookie[at + 1 :]) is None
    assert both.by_session(cookie[:at]) is None
    assert both.by_session(data.draw(st.text())) is None


def test_a_session_cannot_be_made_longer_or_another_s(both: Access):
    cookie, other = both.begin(ANN) or "", both.begin(BOB) or ""
    name, ends, rest = cookie.split(".", 2)
    assert both.by_session(f"{name}.{int(ends) + 1}.{rest}") is None
    assert both.by_session(f"{other.split('.')[0]}.{ends}.{rest}") is None


def test_a_form_proves_itself_to_its_own_session_only(both: Access):
    sessions = [both.by_session(both.begin(ANN) or "") for _ in range(2)]
    one, other = sessions
    assert one is not None
    assert other is not None
    assert proven(one, one.proof)
    assert not proven(one, other.proof)
    assert not any(proven(one, wrong) for wrong in ("", "\u20ac", one.proof[:-1], one.proof.upper() + "0"))


def test_a_token_that_could_be_guessed_is_refused_without_being_told(clock: Clock):
    with pytest.raises(SettingsError) as refused:
        access(clock, ann="short-canary")
    assert "of ann: the token 'ann' is shorter than 24 characters" in str(refused.value)
    assert "canary" not in str(refused.value)
    with pytest.raises(SettingsError, match="CAT is not set"):
        Access([ApiToken("cat", Secret(environ={}, env="CAT"), False)], clock)


def test_where_there_is_no_token_nobody_comes_in(clock: Clock):
    closed = access(clock)
    assert closed.by_token("") is None
    assert closed.by_session("") is None
