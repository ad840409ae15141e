"""Signatures: a delivery is believed for the right bytes under a secret in force, and for nothing else."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hints import Heard, Webhooks
from connectors.signatures import Unproven, Verifier, hold, idle, tolerating

NOW = 1_780_000_000.0
BODY = '{"id":"0b9f6f0e","stage":"Verhandlung – größer"}'.encode()
FIVE_MINUTES = timedelta(minutes=5)


def hears(body: bytes) -> Heard:
    return Heard("deal.updated")


PLANHAT = Webhooks(scheme="header", header="X-Planhat-Secret", hear=hears, tells_workspace=True)
LEADLEX = Webhooks(
    scheme="leadlex",
    signature_header="X-LeadLex-Signature",
    hear=hears,
    past=timedelta(hours=24),
    ahead=timedelta(minutes=10),
    tells_workspace=True,
    tells_time=True,
)
CPOD = Webhooks(
    scheme="hmac",
    signature_header="X-Cpod-Signature",
    timestamp_header="X-Cpod-Timestamp",
    delivery_header="X-Cpod-Delivery",
    signed="auto",
    hear=hears,
    past=FIVE_MINUTES,
    ahead=FIVE_MINUTES,
)
MONACO = replace(
    CPOD,
    signature_header="X-Monaco-Signature",
    timestamp_header="X-Monaco-Timestamp",
    delivery_header="X-Monaco-Delivery-Id",
    signed="timestamp.body",
)


def verifier(rules: Webhooks, *secrets: str, workspace: str | None = None) -> Verifier:
    return Verifier(rules, secrets or ("first", "second"), "eu", workspace)


def mac(signed: bytes, secret: str = "first") -> bytes:
    return hmac.digest(secret.encode(), signed, hashlib.sha256)


def headers(**said: str | bytes) -> list[tuple[bytes, bytes]]:
    return [
        (name.replace("_", "-").encode(), value.encode() if isinstance(value, str) else value)
        for name, value in said.items()
    ]


def relayed(time: str, body: bytes = BODY, secret: str = "first") -> list[tuple[bytes, bytes]]:
    signature = "sha256=" + mac(time.encode() + b"." + body, secret).hex()
    return headers(x_monaco_signature=signature, x_monaco_timestamp=time, x_monaco_delivery_id="d-1")


def refused(rules: Webhooks, said: list[tuple[bytes, bytes]], body: bytes = BODY, at: float = NOW) -> str:
    with pytest.raises(Unproven) as why:
        verifier(rules).verify(said, body, at)
    return why.value.reason


@pytest.mark.parametrize("secret", ["first", "second"])
def test_any_secret_in_force_verifies(secret: str):
    verifier(PLANHAT).verify(headers(x_planhat_secret=secret), BODY, NOW)
    verifier(LEADLEX).verify(headers(x_leadlex_signature="sha256=" + mac(BODY, secret).hex()), BODY, NOW)
    verifier(MONACO).verify(relayed(str(int(NOW)), secret=secret), BODY, NOW)


def test_a_secret_that_was_rotated_out_verifies_no_more():
    assert refused(PLANHAT, headers(x_planhat_secret="former")) == "wrong"
    assert refused(LEADLEX, headers(x_leadlex_signature=mac(BODY, "former").hex())) == "wrong"


@pytest.mark.parametrize("secret", ["größer", "日本語", "with space", "s" * 500])
def test_secrets_are_their_utf8_bytes(secret: str):
    verifier(PLANHAT, secret).verify(headers(x_planhat_secret=secret), BODY, NOW)
    verifier(LEADLEX, secret).verify(headers(x_leadlex_signature=mac(BODY, secret).hex()), BODY, NOW)


@pytest.mark.parametrize(
    "written",
    [
        lambda signature: signature.hex(),
        lambda signature: signature.hex().upper(),
        lambda signature: "sha256=" + signature.hex(),
        lambda signature: "SHA256=" + signature.hex(),
        lambda signature: b64encode(signature).decode(),
        lambda signature: b64encode(signature).decode().rstrip("="),
        lambda signature: "sha256=" + b64encode(signature).decode(),
    ],
    ids=["hex", "upper", "prefix", "PREFIX", "base64", "unpadded", "prefix base64"],
)
def test_a_signature_may_be_hex_or_base64_with_its_prefix_or_without(written):
    verifier(CPOD).verify(headers(x_cpod_signature=written(mac(BODY))), BODY, NOW)


@pytest.mark.parametrize(
    "written",
    [
        "sha512=" + mac(BODY).hex(),
        "sha256:" + mac(BODY).hex(),
        "sha256=",
        "sha256=sha256=" + mac(BODY).hex(),
        mac(BODY).hex()[:-1],
        mac(BODY).hex() + "0",
        mac(BODY).hex()[:32],
        " ".join(mac(BODY).hex()),
        b64encode(mac(BODY))[:-4].decode(),
        f"{mac(BODY).hex()},{mac(BODY).hex()}",
        "größer".encode() * 8,
        b"\xff" * 64,
        "=" * 44,
    ],
)
def test_a_signature_that_is_not_quite_one_is_wrong(written: str | bytes):
    assert refused(CPOD, headers(x_cpod_signature=written)) == "wrong"


@pytest.mark.parametrize("rules", [PLANHAT, LEADLEX, CPOD, MONACO], ids=lambda rules: rules.scheme + rules.signed)
def test_without_its_header_a_delivery_is_unsigned(rules: Webhooks):
    name = rules.header or rules.signature_header
    for said in ([], [(name.lower().encode(), b"")], [(name.lower().encode(), b"  ")], headers(authorization="first")):
        assert refused(rules, said) == "unsigned"


def test_two_headers_of_one_name_are_believed_neither():
    said = relayed(str(int(NOW)))
    assert refused(MONACO, [*said, said[0]]) == "ambiguous"
    assert refused(MONACO, [*said, (b"x-monaco-timestamp", b"1")]) == "ambiguous"
    assert refused(PLANHAT, headers(x_planhat_secret="first") * 2) == "ambiguous"
    verifier(MONACO).verify([*said, (b"via", b"a"), (b"via", b"b")], BODY, NOW)


@pytest.mark.parametrize(
    ("age", "why"), [(300, None), (301, "too_old"), (-300, None), (-301, "too_early"), (86_400, "too_old")]
)
def test_a_signed_time_is_believed_within_its_window(age: int, why: str | None):
    said = relayed(str(int(NOW) - age))
    if why:
        assert refused(MONACO, said) == why
    else:
        verifier(MONACO).verify(said, BODY, NOW)


def test_a_signed_time_may_be_iso_8601():
    verifier(MONACO).verify(relayed("2026-05-28T20:26:40Z"), BODY, NOW)
    assert refused(MONACO, relayed("2026-05-28T20:20:40Z")) == "too_old"


@pytest.mark.parametrize(
    "time", ["abc", "1e9", "-1", "9" * 20, "1780000000000", "1_780_000_000", "1780000000.5", "١٢٣"]
)
def test_a_signed_time_that_is_none_is_refused_although_its_signature_is_right(time: str):
    assert refused(MONACO, relayed(time)) == "untimed"


def test_a_fresh_time_over_an_old_signature_is_wrong_and_so_is_none():
    old = relayed(str(int(NOW) - 3600))
    assert refused(MONACO, [old[0], (b"x-monaco-timestamp", str(int(NOW)).encode())]) == "wrong"
    assert refused(MONACO, [old[0]]) == "untimed"


def test_the_time_is_signed_when_present_where_the_scheme_is_auto():
    timed = headers(x_cpod_signature=mac(b"1780000000." + BODY).hex(), x_cpod_timestamp="1780000000")
    verifier(CPOD).verify(timed, BODY, NOW)
    assert refused(CPOD, timed[:1]) == "wrong"
    bare = headers(x_cpod_signature=mac(BODY).hex(), x_cpod_timestamp="1780000000")
    assert refused(CPOD, bare) == "wrong"
    assert refused(CPOD, headers(x_cpod_signature=mac(b"1779990000." + BODY).hex(), x_cpod_timestamp="1779990000")) == (
        "too_old"
    )


@pytest.mark.parametrize(
    ("said_at", "why"),
    [
        ("2026-05-27T20:26:40.000Z", None),  # a retry, a whole day later
        ("2026-05-27T20:26:39.000Z", "too_old"),
        ("2026-05-28T20:36:40.000Z", None),
        ("2026-05-28T20:36:41.000Z", "too_early"),
    ],
)
def test_a_time_inside_the_body_bounds_the_replay_and_lets_late_retries_in(said_at: str, why: str | None):
    one = verifier(LEADLEX)
    assert one.reads_body
    if why is None:
        one.admit(Heard("deal.updated", said_at=said_at), NOW)
    else:
        with pytest.raises(Unproven, match=why):
            one.admit(Heard("deal.updated", said_at=said_at), NOW)


def test_a_fresh_time_header_saves_no_replay_where_the_time_is_inside_the_body():
    said = headers(x_leadlex_signature=mac(BODY).hex(), x_leadlex_timestamp="2026-05-28T20:26:40Z")
    first = verifier(LEADLEX).verify(said, BODY, NOW)
    later = verifier(LEADLEX).verify([said[0], (b"x-leadlex-delivery-id", b"another")], BODY, NOW + 3600)
    assert first == later
    assert first.lasting


def test_a_delivery_of_another_workspace_is_foreign():
    one = verifier(PLANHAT, workspace="ours")
    assert one.reads_body
    one.admit(Heard("Deal.update", workspace="ours"), NOW)
    for workspace in ("theirs", "", None):
        with pytest.raises(Unproven, match="foreign"):
            one.admit(Heard("Deal.update", workspace=workspace), NOW)
    assert not verifier(PLANHAT).reads_body


def test_a_delivery_is_named_by_its_id_and_bytes_or_by_its_signed_bytes():
    def name(rules: Webhooks, said: list[tuple[bytes, bytes]], body: bytes = BODY, scope: str = "eu") -> bytes:
        return Verifier(rules, ["first"], scope).verify(said, body, NOW).name

    again, retried = relayed("1780000000"), relayed("1780000060")
    assert name(MONACO, again) == name(MONACO, retried)
    other = [*again[:2], (b"x-monaco-delivery-id", b"d-2")]
    assert name(MONACO, other) != name(MONACO, again)
    assert name(MONACO, relayed("1780000000", b"{}"), b"{}") != name(MONACO, again), "an id that was used twice"
    assert name(MONACO, again[:2]) != name(MONACO, retried[:2])
    secret = headers(x_planhat_secret="first")
    assert name(PLANHAT, secret) != name(PLANHAT, secret, scope="us")
    assert len(name(PLANHAT, secret)) == 16


def test_only_a_name_with_an_id_or_a_signed_time_lasts():
    assert not verifier(PLANHAT).verify(headers(x_planhat_secret="first"), BODY, NOW).lasting
    assert not verifier(CPOD).verify(headers(x_cpod_signature=mac(BODY).hex()), BODY, NOW).lasting
    assert verifier(CPOD).verify(headers(x_cpod_signature=mac(BODY).hex(), x_cpod_delivery="d"), BODY, NOW).lasting
    assert verifier(MONACO).verify(relayed("1780000000")[:2], BODY, NOW).lasting


def test_no_header_that_is_a_secret_is_kept():
    assert verifier(PLANHAT).kept_headers == {b"content-type", b"user-agent"}
    assert verifier(replace(PLANHAT, header="User-Agent")).kept_headers == {b"content-type"}
    assert verifier(MONACO).kept_headers >= {b"x-monaco-signature", b"x-monaco-timestamp", b"x-monaco-delivery-id"}


@pytest.mark.parametrize(
    ("rules", "secrets", "says"),
    [
        (replace(CPOD, signature_header=""), ["s"], "signature_header"),
        (replace(PLANHAT, header=""), ["s"], "header"),
        (replace(MONACO, timestamp_header=""), ["s"], "timestamp_header"),
        (PLANHAT, [""], "empty"),
        (PLANHAT, ["good", ""], "empty"),
        (PLANHAT, [], "empty"),
        (PLANHAT, ["good", "one "], "blank"),
        (replace(PLANHAT, delivery_header="x-planhat-secret"), ["s"], "delivery_header and header name one header"),
        (replace(CPOD, delivery_header="X-CPOD-Signature"), ["s"], "one header, 'X-Cpod-Signature'"),
        (replace(MONACO, timestamp_header="X-Monaco-Signature"), ["s"], "timestamp_header and signature_header"),
        (replace(LEADLEX, tells_time=False), ["s"], "bear none"),
    ],
)
def test_rules_under_which_nothing_or_anything_would_verify_are_refused(rules: Webhooks, secrets: list[str], says: str):
    with pytest.raises(ValueError, match=says):
        Verifier(rules, secrets, "eu")


def test_a_workspace_is_held_only_against_deliveries_that_tell_of_one():
    for rules in (PLANHAT, LEADLEX):
        hold(rules, workspace=True)
    for rules in (CPOD, MONACO):
        hold(rules, workspace=False)
        with pytest.raises(ValueError, match="remove workspace_id"):
            hold(rules, workspace=True)
        with pytest.raises(ValueError, match="remove workspace_id"):
            verifier(rules, workspace="ours")


def test_a_blank_around_a_secret_that_signs_is_part_of_it():
    verifier(LEADLEX, " first ").verify(headers(x_leadlex_signature=mac(BODY, " first ").hex()), BODY, NOW)


@pytest.mark.parametrize(
    ("rules", "decides_nothing"),
    [
        (PLANHAT, {"signature_header", "timestamp_header", "signed", "tolerance"}),
        (LEADLEX, {"header", "timestamp_header", "signed"}),
        (CPOD, {"header"}),
        (MONACO, {"header"}),
        (replace(CPOD, signed="body"), {"header", "timestamp_header", "tolerance"}),
        (replace(CPOD, timestamp_header=""), {"header", "tolerance"}),
    ],
)
def test_what_decides_nothing_under_a_scheme_is_known(rules: Webhooks, decides_nothing: set[str]):
    """Whatever it is set to, the same deliveries are believed, under the same names."""
    assert idle(rules) == decides_nothing
    genuine = {
        "header": headers(x_planhat_secret="first"),
        "leadlex": headers(x_leadlex_signature=mac(BODY).hex()),
        "hmac": headers(x_cpod_signature=mac(BODY).hex()) if rules is not MONACO else relayed(str(int(NOW))),
    }[rules.scheme]
    other = {"header": "X-Other", "signature_header": "X-Other", "timestamp_header": "X-Other", "signed": "auto"}
    changed = {key: other[key] for key in decides_nothing - {"tolerance"} if rules.signed != "body" or key != "signed"}
    if "tolerance" in decides_nothing:
        changed |= {"past": timedelta(seconds=1), "ahead": timedelta(seconds=1)}
    here, there = verifier(rules), verifier(replace(rules, **changed))  # type: ignore[arg-type]
    assert here.verify(genuine, BODY, NOW) == there.verify(genuine, BODY, NOW)


def test_a_tolerance_means_both_ways_but_for_a_time_inside_the_body():
    hour = timedelta(hours=1)
    assert tolerating(MONACO, hour) == (hour, hour)
    assert tolerating(LEADLEX, hour) == (hour, timedelta(minutes=10))


@given(st.binary(max_size=300), st.text(min_size=1, max_size=40), st.integers(0, 10_000), st.integers(0, 7))
def test_one_bit_of_the_body_decides(body: bytes, secret: str, place: int, bit: int):
    try:
        key = secret.encode()
    except UnicodeEncodeError:
        return
    one = Verifier(LEADLEX, [secret], "eu")
    said = [(b"x-leadlex-signature", b"sha256=" + hmac.digest(key, body, "sha256").hex().encode())]
    one.verify(said, body, NOW)
    touched = bytearray(body or b"\0")
    touched[place % len(touched)] ^= 1 << bit
    if bytes(touched) != body:
        with pytest.raises(Unproven):
            one.verify(said, bytes(touched), NOW)


@given(st.binary(max_size=200))
def test_no_header_makes_the_verifier_fail_otherwise_than_by_refusing(shown: bytes):
    for rules in (PLANHAT, LEADLEX, CPOD):
        carrier = (rules.header or rules.signature_header).lower().encode()
        said = [(carrier, shown), (b"x-cpod-timestamp", shown), (b"x-cpod-delivery", shown)]
        with pytest.raises(Unproven):
            verifier(rules, "a-secret-that-no-generator-finds").verify(said, BODY, NOW)
