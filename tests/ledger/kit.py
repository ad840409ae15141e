"""The contract kit: one class a promise of the port, held by every ledger (see test_ledgers.py)."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deals.events import Event
from deals.identity import decode_json
from ledger.port import LedgerDeal, Receipt, Rejected, Unsettled
from tests.ledger.subjects import Subject, event


def the_deal(subject: Subject) -> LedgerDeal:
    [deal] = subject.ledger.deals()
    return deal


def receipts(subject: Subject, *events: Event) -> list[Receipt]:
    answers = subject.ledger.append(events)
    assert all(isinstance(answer, Receipt) for answer in answers), answers
    return answers  # type: ignore[return-value]


class EachKeyOnce:
    def test_a_new_key_is_appended_and_gets_three_ids(self, subject: Subject):
        [receipt] = receipts(subject, event())
        assert receipt.outcome == "appended"
        assert not receipt.conflict
        assert receipt.source_event_id.startswith("src_api_")
        assert receipt.domain_event_id.startswith("dom_api_")
        assert receipt.deal_id.startswith("deal_api_org_")

    def test_a_retry_is_absorbed_and_answers_the_first_ids(self, subject: Subject):
        [first] = receipts(subject, event())
        [again] = receipts(subject, event())
        assert again.outcome == "already_there"
        assert not again.conflict
        assert (again.source_event_id, again.domain_event_id, again.deal_id) == (
            first.source_event_id,
            first.domain_event_id,
            first.deal_id,
        )
        assert subject.history() == [("planhat:1", "k1")]

    def test_the_same_key_twice_in_a_batch_is_one_event(self, subject: Subject):
        first, again = receipts(subject, event(), event())
        assert (first.outcome, again.outcome) == ("appended", "already_there")
        assert again.domain_event_id == first.domain_event_id
        assert subject.history() == [("planhat:1", "k1")]

    @pytest.mark.parametrize(
        "other",
        [event(amount=999), event(kind="amount_change"), event(deal="planhat:2"), event(extra="x")],
        ids=["state", "event_type", "external_id", "custom"],
    )
    @pytest.mark.parametrize("apart", [True, False], ids=["later", "same batch"])
    def test_a_key_with_another_payload_is_a_conflict_and_changes_nothing(
        self, subject: Subject, other: Event, apart: bool
    ):
        if apart:
            [first], [second] = receipts(subject, event()), receipts(subject, other)
        else:
            # Two deals are two lanes, and a remote ledger may be reached by either first.
            second, first = sorted(receipts(subject, event(), other), key=lambda one: one.outcome)
        assert (first.outcome, second.outcome) == ("appended", "already_there")
        assert (first.conflict, second.conflict) == (False, True)
        assert second.domain_event_id == first.domain_event_id
        assert the_deal(subject).id == first.deal_id
        assert [key for _, key in subject.history()] == ["k1"]

    def test_a_batch_half_new_and_half_known_is_answered_in_its_order(self, subject: Subject):
        receipts(subject, *(event(f"d:{n}", f"k{n}") for n in range(0, 60, 2)))
        answers = receipts(subject, *(event(f"d:{n}", f"k{n}") for n in range(60)))
        assert [answer.outcome for answer in answers] == ["already_there", "appended"] * 30
        assert len(set(subject.history())) == len(subject.history()) == 60

    def test_the_same_state_under_a_new_key_is_a_new_event(self, subject: Subject):
        receipts(subject, event(), event(key="k2"))
        assert subject.history() == [("planhat:1", "k1"), ("planhat:1", "k2")]


class OneLaneADeal:
    def test_events_of_one_deal_keep_their_order_and_the_last_one_stands(self, subject: Subject):
        amounts = [100, 200, 100, -5, 0]
        receipts(subject, *(event(key=f"k{n}", amount=amount) for n, amount in enumerate(amounts)))
        assert [key for _, key in subject.history()] == ["k0", "k1", "k2", "k3", "k4"]
        assert the_deal(subject).state["amount_cents"] == 0

    def test_a_refused_event_stops_its_own_lane_only(self, subject: Subject):
        bad = Event("a", "upsert", "a2", b'{"amount_cents":1.5}')
        answers = subject.ledger.append([event("a", "a1"), event("b", "b1"), bad, event("a", "a3"), event("b", "b2")])
        kinds = [type(answer) for answer in answers]
        assert kinds == [Receipt, Receipt, Rejected, Unsettled, Receipt]
        assert [key for deal, key in subject.history() if deal == "a"] == ["a1"]
        assert [key for deal, key in subject.history() if deal == "b"] == ["b1", "b2"]

    def test_an_empty_batch_is_answered_with_nothing(self, subject: Subject):
        assert subject.ledger.append([]) == []


class StateIsKept:
    def test_the_standard_keys_stay_and_all_others_go_under_custom(self, subject: Subject):
        receipts(subject, event(currency="USD", close_date="2025-10-15"))
        assert the_deal(subject).state == {
            "amount_cents": 100,
            "stage": "open",
            "close_date": "2025-10-15",
            "owner_external_id": None,
            "custom": {"currency": "USD"},
        }

    def test_a_snapshot_replaces_the_one_before(self, subject: Subject):
        receipts(subject, event(currency="USD", region="EU"))
        receipts(subject, Event("planhat:1", "upsert", "k2", b'{"amount_cents":7,"region":"US"}'))
        assert the_deal(subject).state == {"amount_cents": 7, "custom": {"region": "US"}}

    def test_an_object_named_custom_is_merged_and_the_extras_win(self, subject: Subject):
        receipts(subject, Event("planhat:1", "upsert", "k1", b'{"custom":{"a":1,"b":1},"b":2}'))
        assert the_deal(subject).state == {"custom": {"a": 1, "b": 2}}

    @pytest.mark.parametrize(
        ("written", "value"),
        [
            (b"0.1", Decimal("0.1")),
            (b"12345678901234567890.12345678901234567890", Decimal("12345678901234567890.12345678901234567890")),
            (b"9" * 60, int("9" * 60)),
            ('"Zürich ✓ 🚀"'.encode(), "Zürich ✓ 🚀"),
            (b'"a\\u0000b"', "a\0b"),
            (b'["x",{"y":[null,true]}]', ["x", {"y": [None, True]}]),
        ],
        ids=["decimal", "long decimal", "60 digits", "unicode", "NUL", "nested"],
    )
    def test_a_custom_value_comes_back_exactly(self, subject: Subject, written: bytes, value: object):
        receipts(subject, Event("planhat:1", "upsert", "k1", b'{"v":%b}' % written))
        assert the_deal(subject).state["custom"]["v"] == value

    @pytest.mark.parametrize("amount", [0, -1, 10**14, -(10**20), None])
    def test_every_whole_amount_is_legal(self, subject: Subject, amount: int | None):
        receipts(subject, event(amount=amount))
        assert the_deal(subject).state["amount_cents"] == amount

    def test_ids_of_255_characters_in_any_script_are_taken(self, subject: Subject):
        receipts(subject, event(deal="é" * 255, key="ß" * 255))
        assert the_deal(subject).external_id == "é" * 255

    def test_a_deal_carries_its_times(self, subject: Subject):
        receipts(subject, event())
        deal = the_deal(subject)
        assert deal.last_event_at == deal.updated_at == "2026-04-22T10:15:30.000Z"


class DeletionIsAnEvent:
    def test_a_deleted_deal_is_still_listed_with_the_state_sent(self, subject: Subject):
        receipts(subject, event(), event(key="k2", kind="delete", amount=0, deleted=True))
        assert the_deal(subject).state["amount_cents"] == 0
        assert the_deal(subject).state["custom"] == {"deleted": True}

    def test_a_later_event_brings_it_back(self, subject: Subject):
        receipts(subject, event(), event(key="k2", kind="delete", amount=0, deleted=True), event(key="k3", amount=5))
        assert the_deal(subject).state["amount_cents"] == 5
        assert the_deal(subject).state["custom"] == {}


BAD = {
    "amount is a decimal": (event(), b'{"amount_cents":1.5}', "amount_cents"),
    "amount is written as a decimal": (event(), b'{"amount_cents":100.0}', "amount_cents"),
    "amount is text": (event(), b'{"amount_cents":"100"}', "amount_cents"),
    "amount is true": (event(), b'{"amount_cents":true}', "amount_cents"),
    "stage is a number": (event(), b'{"stage":1}', "stage"),
    "close date is a list": (event(), b'{"close_date":[]}', "close_date"),
    "owner is an object": (event(), b'{"owner_external_id":{}}', "owner_external_id"),
    "state is a list": (event(), b"[]", "state"),
    "state is null": (event(), b"null", "state"),
    "no such type": (event(kind="updated"), None, "event_type"),
    "no external id": (event(deal=""), None, "external_id"),
    "no key": (event(key=""), None, "dedup_key"),
    "long external id": (event(deal="x" * 256), None, "external_id"),
    "long key": (event(key="x" * 256), None, "dedup_key"),
    "NUL in the id": (event(deal="a\0b"), None, "external_id"),
    "too large": (event(note="x" * 300_000), None, ""),
}


class RefusesForEver:
    @pytest.mark.parametrize("name", BAD)
    def test_what_the_contract_does_not_allow_is_refused_and_nothing_is_written(self, subject: Subject, name: str):
        wrong, state, field = BAD[name]
        if state is not None:
            wrong = Event(wrong.external_id, wrong.event_type, wrong.dedup_key, state)
        refused, fine = subject.ledger.append([wrong, event("other", "k9")])
        assert isinstance(refused, Rejected), refused
        assert field in refused.message
        assert isinstance(fine, Receipt)
        assert subject.history() == [("other", "k9")]


class ListsEveryDeal:
    def test_each_deal_once_however_many(self, subject: Subject):
        names = [f"d:{n}" for n in range(1003)]
        receipts(subject, *(event(name, f"k:{name}") for name in names))
        assert sorted(deal.external_id for deal in subject.ledger.deals()) == sorted(names)

    def test_an_empty_ledger_lists_nothing(self, subject: Subject):
        assert list(subject.ledger.deals()) == []

    def test_the_check_is_one_line(self, subject: Subject):
        assert "\n" not in subject.ledger.check()
        assert "ledger" in subject.ledger.check()


histories = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-3, 3), st.sampled_from(["upsert", "amount_change", "delete"])),
    min_size=1,
    max_size=12,
)


class AnyHistoryFolds:
    @settings(
        deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(steps=histories, random=st.randoms(use_true_random=False), size=st.integers(1, 5))
    def test_with_any_retries_each_key_counts_once_in_order_and_the_fold_is_the_list(
        self, subject: Subject, steps: list[tuple[str, int, str]], random: Random, size: int
    ):
        here = subject.fresh()
        sent = [event(deal, f"{deal}:{n}", amount, kind) for n, (deal, amount, kind) in enumerate(steps)]
        for start in range(0, len(sent), size):
            known, batch = sent[:start], sent[start : start + size]
            retries = random.sample(known, random.randint(0, len(known)))
            receipts(here, *retries, *batch, *random.sample(batch, random.randint(0, len(batch))))
        accepted = here.history()
        assert sorted(accepted) == sorted((one.external_id, one.dedup_key) for one in sent)
        by_deal = sorted(sent, key=lambda one: one.external_id)
        for deal, lane in groupby(by_deal, key=lambda one: one.external_id):
            lane_events = list(lane)
            assert [key for name, key in accepted if name == deal] == [one.dedup_key for one in lane_events]
            [listed] = [one for one in here.ledger.deals() if one.external_id == deal]
            assert listed.state["amount_cents"] == decode_json(lane_events[-1].state)["amount_cents"]
