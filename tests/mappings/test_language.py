"""Language: every mistake in a table is named, with its place and a way out; equal meaning is an equal version."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mappings.language import LARGEST, MappingError, parse
from tests.mappings.tables import PLANHAT, SMALL, edited, small


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(MappingError) as caught:
        parse(text, name="t.toml")
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(problem.startswith("t.toml: ") for problem in caught.value.problems)
    return tuple(problem.removeprefix("t.toml: ") for problem in caught.value.problems)


def fault(*changes: tuple[str, str]) -> str:
    (only,) = faults(edited(*changes))
    return only


def test_a_table_is_parsed_into_its_source_and_kinds():
    mapping = small()
    assert mapping.source == "acme"
    assert list(mapping.kinds) == ["deals"]
    assert mapping.text == SMALL
    assert mapping.fields("deals") == {
        "id", "value", "stage", "closed", "expected", "owner", "title", "seats", "extra",
    }  # fmt: skip
    assert mapping.fields("opportunities") == frozenset()


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake():
    assert parse("\ufeff" + SMALL.replace("\n", "\r\n"), name="t").version == small().version


def within(tables: str) -> str:
    return f'[deals.stage.within]\nfrom = "p"\nwords = {{{tables}}}\n\n[deals.owner]'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('currency = "value.code"', 'curency = "x"', "deals.amount.curency: there is no such key here; known: "),
        ('currency = "value.code"', 'curency = "x"', "(nearest known: 'currency')"),
        ("[deals.owner]", "[deals.ownr]", "deals.ownr: there is no such key here"),
        ('from = "owner.id"', "", "deals.owner.from: is missing"),
        ('from = "stage"', "from = 3", "deals.stage.from: found 3; a text in quotes, or a list of them, would be"),
        ('from = "stage"', "from = []", "deals.stage.from: found a list of 0 items; at least one key must be named"),
        ('from = "stage"', 'from = "a..b"', "deals.stage.from.0: found 'a..b'; a record key"),
        ('"Won" = "closed_won"', '"Won" = true', "deals.stage.words.Won: found true; a text in quotes would be right"),
        ('"Won" = "closed_won"', '"Won" = " won"', "a word for the ledger would be right"),
        ('from = "stage"', 'from = "stage"\nunmapped = "pas"', "one of park, pass would be right (nearest known: "),
        ('as = "number"', 'as = "numbr"', "deals.custom.seats.as: found 'numbr'; one of boolean, date, day, id, json,"),
        ('as = "number"', 'as = "numbr"', "(nearest known: 'number')"),
        ("seats =", "Seats =", "snake_case of a-z 0-9 _, at most 64 long, such as 'seats'"),
        ("seats =", "stage =", "the ledger keeps the name 'stage' for itself; prefix it: acme_stage"),
        ("seats =", "deleted =", "prefix it: acme_deleted"),
        ("seats =", "currency =", "'currency' is written with the amount; choose another, such as acme_currency"),
        ("seats =", "kick_off_day =", "the custom key 'kick_off_day' is already taken by `custom.kick_off_day`"),
        ("{ as = \"day\" }", '{ key = "stage" }', "prefix it: acme_stage"),
        ("updated = ", "title = ", "deals.ignored.title: the key is ignored here and read by `custom.title`"),
        ("updated = ", "value = ", "deals.ignored.value: the key is ignored here and read by `amount"),
        ('"moves without a change"', '" "', "deals.ignored.updated: found ' '; say in a few words why it is ignored"),
        ('"Open" = "open"', '"Won " = "open"', "'Won ' and 'Won' are the same word, mapped twice; keep one"),
        ('"Open" = "open"', '"" = "open"', "an empty word never occurs"),
        ('"Secret Note" =', '"Kick-off Day" =', "the label is declared and ignored; keep one of the two"),
        ('"Open" = "open"', '"Won" = "open"', "a key or word stands there twice; keep one"),
        ("[deals.owner]", "[deals.stage]", "a section stands there twice"),
        ('source = "acme"', "", "source: is missing; the source's name would be right, such as source = \"planhat\""),
        ('source = "acme"', 'source = "Ac me"', "source: found 'Ac me'"),
        ('from = "stage"', 'from = "stage"\ncompare = "slugs"', "one of exact, slug would be right (nearest"),
        ('"Open" = "open"', '"Open" = "open"\n[deals.stage.within]\nfrom = "p"', "stage.within.words: is missing"),
        ("[deals.owner]", '[deals.stage.within]\nfrom = "p"\nwords = {}\n[deals.owner]', "words: found an object of 0"),
        ("[deals.owner]", within('"a" = {}'), "deals.stage.within.words.'a': no word is known and unknown words park"),
        ("[deals.owner]", within('"a" = {x = "x"}, " a" = {y = "y"}'), "' a' and 'a' are the same word, mapped twice"),
        ("[deals.owner]", within('"a" = {x = "x", "x " = "x"}'), "within.words.'a': 'x ' and 'x' are the same"),
        ("[deals.owner]", within('"a" = {x = 3}'), "deals.stage.within.words.a.x: found 3; a text in quotes"),
        ("[deals.owner]", '[deals.stage.history]\nfrom = "h"\n[deals.owner]', "deals.stage.history.stage: is missing"),
        ('"owner.id"', '"owner.id"\nagree = true', "deals.owner.agree: there is no such key here; known: from"),
        ('as = "number"', 'look_up = "accounts"', "deals.custom.seats: `look_up` needs `take`"),
        ('as = "number"', 'take = "name"', "deals.custom.seats: `take` needs `look_up`"),
        ('as = "number"', 'take = "name", look_up = "No 1"', "found 'No 1'; the name of reference data would be right"),
        ('as = "number"', 'as = "zoned_day"', "found 'zoned_day'; one of boolean, date, day, id, json,"),
        ('["closed", "expected"]', '"expected"\nas = "zone_day"', "one of date, day, zoned_day would be right"),
        ('from = "extra"', "", "deals.custom_fields: one of `from` (an object) and `prefix`"),
        ('from = "extra"', 'from = "extra"\nprefix = "cf_"', "deals.custom_fields: one of `from` (an object)"),
        ('from = "extra"', 'prefix = "cf_"\nquoted = true', "deals.custom_fields.quoted: only an object can be quoted"),
        ('from = "extra"', 'prefix = " "', "found ' '; the beginning of record keys would be right"),
        ('from = "extra"', 'from = "extra"\nquoted = "yes"', "deals.custom_fields.quoted: found 'yes'; true or false"),
        ("updated = ", "closed = ", "deals.ignored.closed: the key is ignored here and read by `close_date`"),
        ('source = "acme"', 'source = "acme"\nkinds = 3', "kinds: found 3; besides `source` a table has one section"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(old: str, new: str, message: str):
    assert message in "\n".join(faults(edited((old, new))))


def test_all_mistakes_are_reported_at_once():
    found = faults(edited(('"Won" =', '"Won" = 3 #'), ('as = "number"', 'as = "x"'), ("updated =", "title =")))
    assert [problem.partition(":")[0] for problem in found] == ["deals.stage.words.Won", "deals.custom.seats.as"]
    found = faults(edited(("seats =", "custom ="), ("updated =", "title ="), ('"Open" =', '"Won " =')))
    assert len(found) == 3


def test_text_that_is_no_toml_is_refused_with_its_line():
    assert fault(('from = "stage"', "from = stage")) == "the text is not TOML: Invalid value (at line 11, column 8)"


def test_a_table_without_a_kind_reads_nothing_and_is_refused():
    assert faults('source = "acme"') == ("the table reads no kind of record; a section such as [deals] is missing",)
    assert len(faults("")) == 2


def test_a_stage_without_words_must_say_that_words_pass():
    text = edited(('"Won" = "closed_won"', ""), ('"Open" = "open"', ""))
    assert faults(text) == (
        'deals.stage: no word is known and unknown words park; list `words`, or write unmapped = "pass"',
    )


def test_an_outcome_word_cannot_be_decided_and_open():
    outcome = (
        '[deals.stage.outcome]\nfrom = "status"\nopen = ["won"]\nwords = { won = "closed_won" }\n\n[deals.stage.words]'
    )
    assert "mapped twice" in fault(("[deals.stage.words]", outcome))


def test_words_with_one_slug_may_stand_in_a_table_that_compares_by_it_only_where_they_mean_the_same():
    slug = ('from = "stage"', 'from = "stage"\ncompare = "slug"')
    same, other = ('"Open" =', '"WON" = "closed_won"\n"Open" ='), ('"Open" =', '"WON" = "won"\n"Open" =')
    assert small(slug, same).version == small(slug).version
    assert "stage.words: 'WON' and 'Won' are the same word, mapped twice; keep one" in fault(slug, other)
    assert small(other)


def test_an_outcome_word_cannot_be_decided_and_open_under_two_spellings_of_one_slug():
    outcome = (
        '[deals.stage.outcome]\nfrom = "status"\nopen = ["WON", "won!"]\nwords = { won = "closed_won" }\n[deals.owner]'
    )
    slug = ('from = "stage"', 'from = "stage"\ncompare = "slug"')
    found = faults(edited(slug, ("[deals.owner]", outcome)))
    assert [problem.partition(":")[0] for problem in found] == ["deals.stage.outcome"] * 2
    assert small(("[deals.owner]", outcome))


def test_with_a_prefix_two_labels_with_one_slug_cannot_both_speak_of_the_field():
    change = ('"Secret Note" =', '"kick-off  DAY" =')
    assert small(change)
    assert "have one slug" in fault(change, ('from = "extra"', 'prefix = "cf_"'))


def test_a_table_without_general_words_may_have_words_for_pipelines_only():
    bare = (('"Won" = "closed_won"', ""), ('"Open" = "open"', ""))
    assert small(*bare, ("[deals.owner]", within('"a" = {x = "x"}')))


def test_an_oversized_table_is_refused_before_it_is_read():
    (only,) = faults(SMALL + "#" * LARGEST)
    assert only == "the table is larger than 1,000,000 bytes; a table is written by people"


@pytest.mark.parametrize("text", ["a=" + "[" * 5000, "a = 1" + "0" * 5000, "a = \ud800", "a = 2026-02-30", "\x00"])
def test_hostile_text_is_refused_like_any_other(text: str):
    assert len(faults(text)) >= 1


toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return str(value).lower() if isinstance(value, bool | int | float) else str(value)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.text(max_size=200) | st.integers(0, len(SMALL)).map(lambda cut: SMALL[:cut] + SMALL[cut + 3 :]))
@example("[a]\nb.c = 1\nb = 2")
def test_parse_raises_nothing_but_mapping_errors_for_any_text(text: str):
    with suppress(MappingError):
        parse(text, name="t")


PLACES = (
    '"acme"', '"value.amount"', '"stage"', '"closed_won"', '["closed", "expected"]', '{ from = "title", as = "text" }',
    '{ as = "day" }', '["undefined"]', '"not for the ledger"', '["id"]', '"number"',
)  # fmt: skip


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.sampled_from(PLACES), toml_values)
def test_parse_raises_nothing_but_mapping_errors_for_any_value_anywhere(place: str, value: Any):
    with suppress(MappingError):
        parse(SMALL.replace(place, toml(value), 1), name="t")


def shuffled(text: str, seed: int) -> str:
    """The same table with its sections, and the entries in each, in another order, without comments."""
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("["):
            sections.append([line.split("#")[0].rstrip()])
        elif line.strip() and not line.startswith("#"):
            sections[-1].append(line.split("   #")[0])
    chance = random.Random(seed)
    for section in sections[1:]:
        body = section[1:]
        chance.shuffle(body)
        section[1:] = body
    rest = sections[1:]
    chance.shuffle(rest)
    return "\n".join(line for section in [sections[0], *rest] for line in section)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([SMALL, PLANHAT]), st.integers())
def test_comments_and_order_do_not_change_the_version(text: str, seed: int):
    assert parse(shuffled(text, seed), name="t").version == parse(text, name="t").version


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('from = "stage"', 'from = ["stage"]\nunmapped = "park"'),
        ('"Won" =', '" Won " ='),
        ("moves without a change", "another reason"),
        ('{ as = "day" }', '{ key = "kick_off_day", as = "day" }'),
        ('currency = "value.code"', 'currency = "value.code"\nnumbers = "json"\nwhole_minor = false'),
        ('from = "stage"', 'from = "stage"\ncompare = "exact"'),
        ('["closed", "expected"]', '["closed", "expected"]\nclosed = []'),
        ('from = "extra"', 'from = "extra"\nquoted = false'),
    ],
)
def test_another_spelling_of_the_same_meaning_has_the_same_version(old: str, new: str):
    assert small((old, new)).version == small().version


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"closed_won"', '"won"'),
        ('["closed", "expected"]', '["expected", "closed"]'),
        ('as = "number"', 'as = "json"'),
        ('nothing = ["undefined"]', ""),
        ("updated =", "changed ="),
        ('"acme"', '"other"'),
        ('required = ["id"]', ""),
        ('from = "owner.id"', 'from = "owner"'),
        ('currency = "value.code"', ""),
        ('from = "stage"', 'from = "stage"\nunmapped = "pass"'),
        ('from = "stage"', 'from = "stage"\ncompare = "slug"'),
        ("[deals.owner]", within('"a" = {x = "x"}')),
        ("[deals.owner]", '[deals.stage.history]\nfrom = "h"\nstage = "to"\n[deals.owner]'),
        ('["closed", "expected"]', '"expected"\nclosed = "closed"'),
        ('["closed", "expected"]', '["closed", "expected"]\nas = "zoned_day"'),
        ('as = "number"', 'look_up = "accounts", take = "seats"'),
        ('from = "extra"', 'prefix = "extra"'),
        ('from = "extra"', 'from = "extra"\nquoted = true'),
    ],
)
def test_another_meaning_has_another_version(old: str, new: str):
    assert small((old, new)).version != small().version


def test_an_outcome_that_must_agree_is_another_meaning():
    outcome = '[deals.stage.outcome]\nfrom = "status"\nwords = { won = "closed_won" }\n[deals.owner]'
    agreeing = outcome.replace("words", "agree = true\nwords")
    assert small(("[deals.owner]", outcome)).version != small(("[deals.owner]", agreeing)).version


def test_where_a_move_says_its_stage_is_part_of_the_meaning():
    moves = '[deals.stage.history]\nfrom = "h"\nstage = "to"\n[deals.owner]'
    other = moves.replace('"to"', '"from"')
    assert small(("[deals.owner]", moves)).version != small(("[deals.owner]", other)).version


def test_how_words_compare_is_another_meaning_even_where_every_word_is_its_own_slug():
    plain = (('"Won" =', '"won" ='), ('"Open" =', '"open" ='))
    assert small(*plain).version != small(*plain, ('from = "stage"', 'from = "stage"\ncompare = "slug"')).version


def test_words_and_lists_within_the_new_parts_change_the_version():
    one = small(("[deals.owner]", within('"a" = {x = "x"}')))
    assert one.version != small(("[deals.owner]", within('"a" = {x = "y"}'))).version
    assert one.version != small(("[deals.owner]", within('"b" = {x = "x"}'))).version
    assert one.version == small(("[deals.owner]", within('" a " = {"x " = "x"}'))).version


def test_a_mapping_cannot_be_changed():
    mapping = small()
    with pytest.raises(AttributeError):
        mapping.source = "x"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        mapping.kinds["deals"].amount = None  # type: ignore[misc,assignment]
