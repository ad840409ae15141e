"""Vocabulary: slugs that keep labels apart, and words known only as they are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.vocabulary import LONGEST_SLUG, Vocabulary, near, slug


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("Forecast Category", "forecast_category"),
        ("  Closed-Won! ", "closed_won"),
        ("Größe (m²)", "grosse_m2"),
        ("Négociation", "negociation"),
        ("Security review done?", "security_review_done"),
        ("360° review", "360_review"),
    ],
)
def test_a_label_becomes_a_snake_case_key(label: str, key: str):
    assert slug(label) == key


def test_labels_that_ascii_cannot_show_keep_different_keys_for_ever():
    assert slug("Стадия") == "x_47279228"
    assert len({slug(label) for label in ("Стадия", "Сделка", "成交", "交易", "A 成交", "A 交易")}) == 6


def test_a_label_without_a_letter_or_of_great_length_still_has_a_key():
    assert re.fullmatch("x_[0-9a-f]{8}", slug("***"))
    long = [slug("a" * 100 + tail) for tail in "bc"]
    assert long[0] != long[1]
    assert {len(key) for key in long} == {LONGEST_SLUG}


@settings(deadline=None)
@given(st.text())
def test_every_text_has_a_slug_that_is_a_slug(label: str):
    key = slug(label)
    assert re.fullmatch("[a-z0-9][a-z0-9_]*", key)
    assert len(key) <= LONGEST_SLUG
    assert slug(key) == key


def test_a_word_is_known_only_as_it_is_written_blanks_around_it_aside():
    words = Vocabulary({"Closed Won": "closed_won"})
    assert words.find("Closed Won") == words.find(" Closed Won\n") == "closed_won"
    assert words.find("closed won") is None
    assert words.find("Closed  Won") is None
    assert words.near("closed won") == " (nearest known: 'Closed Won')"


def test_an_accent_is_the_same_accent_in_either_of_its_unicode_forms():
    composed, decomposed = "Ne\u0301gociation", "N\u00e9gociation"
    assert composed != decomposed
    assert Vocabulary({composed: "negotiation"}).find(decomposed) == "negotiation"
    assert Vocabulary({decomposed: "negotiation"}).find(composed) == "negotiation"


def test_nothing_near_is_no_hint():
    assert near("Zebra", ["Closed Won"]) == ""
