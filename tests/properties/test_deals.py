"""What must be true of deals whatever their states: diff and fold, keys, canonical bytes, money."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from deals.diff import diff, fold, tombstone
from deals.events import Event, EventType, body
from deals.identity import canonical, decode_json, dedup_key, digest, state_bytes
from deals.money import exponent, minor_units
from deals.state import RESERVED, DealState, from_wire, json_value, wire

TEXT = st.text(max_size=12).filter(lambda text: text.isprintable() or not text)
NUMBERS = st.integers(-(10**20), 10**20) | st.decimals(
    min_value=-(10**9), max_value=10**9, places=4, allow_nan=False, allow_infinity=False
)
JSON = st.recursive(
    st.none() | st.booleans() | TEXT | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
).map(json_value)
CUSTOM = st.dictionaries(TEXT.filter(lambda key: key not in RESERVED), JSON, max_size=4)
STATES = st.builds(
    DealState,
    amount_cents=st.none() | st.integers(-(10**12), 10**12),
    stage=st.none() | st.sampled_from(["negotiation", "closed_won", "closed_lost"]),
    close_date=st.none() | st.dates(date(1990, 1, 1), date(2099, 1, 1)),
    owner_external_id=st.none() | TEXT,
    custom=CUSTOM,
)


@given(st.lists(STATES, min_size=1, max_size=6))
@settings(deadline=None)
def test_diff_then_fold_is_the_identity(states: list[DealState]):
    before, changes = None, []
    for state in states:
        change = diff(before, state)
        if change is not None:
            changes.append(change)
        before = state
    assert state_bytes(fold(changes)) == state_bytes(states[-1])


@given(STATES, STATES)
@settings(deadline=None)
def test_a_change_is_told_exactly_when_the_bytes_to_send_differ(one: DealState, other: DealState):
    assert (diff(one, other) is None) == (state_bytes(one) == state_bytes(other))


@given(STATES)
@settings(deadline=None)
def test_a_deal_that_comes_back_after_its_tombstone_is_what_it_was(state: DealState):
    gone = tombstone(state)
    back = diff(gone.state, state)
    assert (gone.event_type, back.event_type) == (EventType.DELETE, EventType.UPSERT)
    assert state_bytes(fold([gone, back])) == state_bytes(state)


@given(STATES)
@settings(deadline=None)
def test_the_wire_form_reads_back_as_the_same_state(state: DealState):
    read = from_wire(decode_json(state_bytes(state)))
    assert state_bytes(read) == state_bytes(state)
    assert set(wire(state)) >= {"amount_cents", "stage", "close_date", "owner_external_id"}


@given(st.lists(STATES, min_size=1, max_size=5), st.text("0123456789abcdef", min_size=8, max_size=8))
@settings(deadline=None)
def test_keys_are_a_pure_function_of_the_history_and_never_repeat(states: list[DealState], epoch: str):
    def keys(used_epoch: str) -> list[str]:
        found, previous = [], ""
        for revision, state in enumerate(states, start=1):
            change = ("upsert", digest(state_bytes(state)))
            previous = dedup_key(
                epoch=used_epoch, connection="eu", source_id="d1", revision=revision, previous=previous, change=change
            )
            found.append(previous)
        return found

    assert keys(epoch) == keys(epoch)
    assert len(set(keys(epoch))) == len(states)
    assert set(keys(epoch)).isdisjoint(keys(epoch + "x"))


def test_an_amount_that_returns_to_what_it_was_gets_a_new_key():
    cents = [10_000, 20_000, 10_000]
    previous, found = "", []
    for revision, amount in enumerate(cents, start=1):
        change = ("amount_change", digest(state_bytes(DealState(amount_cents=amount))))
        previous = dedup_key(
            epoch="e", connection="eu", source_id="d1", revision=revision, previous=previous, change=change
        )
        found.append(previous)
    assert len(set(found)) == 3
    assert all(key.startswith("eu:d1:") for key in found)


def test_neighbouring_parts_of_a_key_cannot_run_into_each_other():
    shared = {"epoch": "e", "revision": 1, "previous": "", "change": ("upsert", b"")}
    one = dedup_key(connection="a", source_id="bc", **shared)
    other = dedup_key(connection="ab", source_id="c", **shared)
    assert one.rsplit(":", 1)[1] != other.rsplit(":", 1)[1]


@given(st.text(min_size=1, max_size=400))
@settings(deadline=None)
def test_a_key_is_never_longer_than_the_ledger_allows(source_id: str):
    key = dedup_key(
        epoch="e", connection="c" * 40, source_id=source_id, revision=7, previous="p", change=("upsert", b"x")
    )
    assert len(key) <= 255


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=6), st.sampled_from(["USD", "JPY", "KWD", "EUR"]))
@settings(deadline=None)
def test_minor_units_are_exact_or_say_that_they_are_not(amount: Decimal, currency: str):
    minor = minor_units(amount, currency)
    exact = amount.scaleb(exponent(currency))
    assert abs(exact - minor.units) <= Decimal("0.5")
    assert minor.rounded == (exact != minor.units)


@given(NUMBERS)
@settings(deadline=None)
def test_equal_numbers_have_equal_bytes_and_survive_exactly(value: int | Decimal):
    read = decode_json(canonical(json_value(value)))
    assert read == value
    assert canonical(json_value(Decimal(value) * Decimal("1.00"))) == canonical(json_value(value))


@given(STATES, STATES)
@settings(deadline=None)
def test_the_same_event_is_the_same_bytes(one: DealState, other: DealState):
    event = Event("eu:d1", "upsert", "key", state_bytes(one))
    again = Event("eu:d1", "upsert", "key", state_bytes(replace(one)))
    assert body(event) == body(again)
    assert decode_json(body(event))["state"] == decode_json(state_bytes(one))
    assert (body(event) == body(Event("eu:d1", "upsert", "key", state_bytes(other)))) == (
        state_bytes(one) == state_bytes(other)
    )
