"""The one HTTP client: what it retries, what it refuses, what it says, and what it never says."""

from __future__ import annotations

import email.utils
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog

from connectors.faults import Fault, Misconfigured, RateLimited, Refused, Unavailable, Unintelligible
from connectors.pacing import News
from connectors.source import Options
from connectors.transport import Answer, Ask, Told, Transport, base_url, header_value
from tests.connectors.wire import NOW, TOKEN, Clock, Script, account, answer


class Line:
    """A transport over a script, with a clock of its own."""

    def __init__(self, *entries: Any, options: Options | None = None, told: Told | None = None, **changed: Any) -> None:
        self.script = Script(*entries)
        self.clock = Clock()
        self.transport = Transport(
            account(self.script, options=options, **changed),
            {"Authorization": f"Bearer {TOKEN}"},
            hints={401: "is it the right cluster?"},
            timing=self.clock.timing(),
            max_bytes=1000,
            told=told,
        )

    def ask(self, read: Callable[[Answer], Any] = lambda got: got.body, **settings: Any) -> Any:
        return self.transport.ask(Ask(path="/deals", **settings), read)

    @property
    def attempts(self) -> int:
        return len(self.script.requests)


def unreadable(_: Answer) -> Any:
    raise Unintelligible("the answer is a page of markup; a list of records was expected")


def test_a_request_carries_its_credentials_and_parameters_and_asks_for_json():
    line = Line(answer("[1]"))
    assert line.ask(params={"limit": 5, "sort": "-updatedAt"}) == b"[1]"
    sent = line.script.requests[0]
    assert str(sent.url) == "https://api.example.com/deals?limit=5&sort=-updatedAt"
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert (sent.headers["accept"], sent.headers["accept-encoding"]) == ("application/json", "gzip")


def test_a_path_of_the_base_url_is_kept_and_encoded_slashes_stay_encoded():
    script = Script(answer("{}"))
    transport = Transport(account(script, base_url="https://api.example.com/crm/"), {})
    transport.ask(Ask(path="/deals/extid-a%2Fb%20c"), lambda got: got.body)
    assert script.requests[0].url.raw_path == b"/crm/deals/extid-a%2Fb%20c"


def test_an_answer_knows_when_its_request_was_sent_and_the_time_over_there():
    times = iter(["2026-03-02T07:59:00.000Z", "2026-03-02T08:00:00.000Z", "2026-03-02T08:00:09.000Z"])
    line = Line(answer(status=503), answer(date="Mon, 02 Mar 2026 09:00:00 GMT"), now=lambda: next(times))
    got = line.ask(lambda got: got)
    assert got.requested_at == "2026-03-02T08:00:09.000Z"
    assert got.source_time == "2026-03-02T09:00:00.000Z"
    assert got.trusted_until == "2026-03-03T09:00:00.000Z"


@pytest.mark.parametrize(
    "passing",
    [
        *(answer(status=status) for status in (429, 500, 502, 503, 504, 408, 520)),
        httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.ReadTimeout("slow"),
        httpx.ConnectTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.PoolTimeout("busy"),
    ],
)  # fmt: skip
def test_what_may_pass_is_sent_again_with_full_jitter(passing: Any):
    line = Line(passing, passing, passing, answer("[]"))
    assert line.ask() == b"[]"
    assert line.attempts == 4
    assert all(0 <= slept <= bound for slept, bound in zip(line.clock.slept, (1, 2, 4), strict=True))
    assert len(set(line.clock.slept)) == 3


def test_the_jitter_comes_from_the_seed():
    first, second = (Line(answer(status=500), answer(status=500), answer("[]")) for _ in range(2))
    first.ask()
    second.ask()
    assert first.clock.slept == second.clock.slept


def test_a_dead_other_side_is_given_up_after_the_stated_time():
    line = Line(httpx.ConnectError("connection refused"))
    with pytest.raises(
        Unavailable, match=r"https://api.example.com cannot be reached: connection refused \(\d+ attempts"
    ):
        line.ask()
    assert line.attempts > 3
    assert sum(line.clock.slept) <= 30


def test_no_retry_at_all_when_there_is_no_time_for_it():
    line = Line(answer(status=503), give_up_after_s=0.0)
    with pytest.raises(Unavailable, match=r"answered 503$"):
        line.ask()
    assert (line.attempts, line.clock.slept) == (1, [])


def test_later_attempts_wait_no_longer_than_what_is_left():
    patience: list[dict[str, float]] = []

    def slow(request: httpx.Request) -> httpx.Response:
        patience.append(request.extensions["timeout"])
        line.clock.now += patience[-1]["read"]
        raise httpx.ReadTimeout("slow")

    line = Line(slow, give_up_after_s=12.0, options=Options(amount_unit="major", timeout="10s"))
    with pytest.raises(Unavailable, match="was not answered within"):
        line.ask()
    assert patience[0] == {"connect": 10, "read": 10, "write": 10, "pool": 10}
    assert patience[1]["read"] <= 2
    assert line.clock.now <= 1000 + 13


def test_what_cannot_even_be_sent_is_misconfigured():
    line = Line(httpx.LocalProtocolError("Illegal header value b'Bearer canary-8f2d61'"))
    with pytest.raises(Misconfigured, match="check base_url and the credentials") as caught:
        line.ask()
    assert TOKEN not in str(caught.value)
    assert line.attempts == 1


@pytest.mark.parametrize(
    ("stated", "waited"),
    [
        ("7", 7), ("0", 0), ("-5", 0),
        (email.utils.format_datetime(datetime.fromisoformat(NOW) + timedelta(seconds=9), usegmt=True), 9),
        ("Mon, 02 Mar 2020 08:00:00 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_honoured_in_seconds_and_as_a_date(stated: str, waited: float):
    line = Line(answer(status=429, retry_after=stated), answer("[]"))
    assert line.ask() == b"[]"
    assert line.clock.slept == [waited]


def test_a_retry_after_date_is_read_by_the_clock_that_wrote_it():
    skewed = answer(status=503, retry_after="Mon, 02 Mar 2026 12:00:05 GMT", date="Mon, 02 Mar 2026 12:00:00 GMT")
    line = Line(skewed, answer("[]"))
    line.ask()
    assert line.clock.slept == [5]


@pytest.mark.parametrize("nonsense", ["never", "", "NaN", "inf", "1e9", "٧"])
def test_a_retry_after_without_sense_is_no_retry_after(nonsense: str):
    headers = httpx.Headers([(b"retry-after", nonsense.encode())])
    line = Line(lambda _: httpx.Response(429, headers=headers), answer("[]"))
    line.ask()
    assert 0 <= line.clock.slept[0] <= 1


@pytest.mark.parametrize(("stated", "seconds"), [("31", 31), ("900", 900), ("999999999999", 900)])
def test_a_wait_beyond_what_is_left_is_told_at_once(stated: str, seconds: float):
    line = Line(answer(status=429, retry_after=stated))
    with pytest.raises(RateLimited, match=f"asked again in {seconds} s") as caught:
        line.ask()
    assert caught.value.retry_after_s == seconds
    assert (line.attempts, line.clock.slept) == (1, [])


def test_a_limit_that_never_lifts_is_rate_limited_even_without_a_stated_time():
    line = Line(answer(status=429))
    with pytest.raises(RateLimited) as caught:
        line.ask()
    assert caught.value.retry_after_s == 60


@pytest.mark.parametrize(
    ("status", "fault"),
    [(401, Refused), (403, Refused), (400, Unintelligible), (404, Unintelligible), (422, Unintelligible),
     (204, Unintelligible), (206, Unintelligible), (418, Unintelligible)],
)  # fmt: skip
def test_a_status_becomes_the_fault_of_whoever_must_act_and_is_not_retried(status: int, fault: type[Fault]):
    line = Line(answer('{"error":"private text"}', status=status))
    with pytest.raises(fault, match=f"GET https://api.example.com/deals answered {status}") as caught:
        line.ask()
    assert line.attempts == 1
    assert "private" not in str(caught.value)
    assert ("cluster" in str(caught.value)) == (status == 401)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://evil.example/deals?token=x", "evil.example"),
        ("/login", "another path"),
        ("http://[", "nowhere"),
        ("", "path"),
    ],
)
def test_a_redirect_is_reported_and_never_followed(location: str, told: str):
    line = Line(answer(status=302, location=location), answer("[]"))
    with pytest.raises(Unintelligible, match=f"a redirect to .*{told}"):
        line.ask()
    assert line.attempts == 1


def test_an_accepted_status_is_handed_back():
    assert Line(answer("gone", status=404)).ask(lambda got: got.status, accept=frozenset({404})) == 404


def test_what_cannot_be_read_is_asked_for_twice_more_and_then_told_without_its_body():
    line = Line(answer("<html>private</html>", content_type="text/html; charset=utf-8"))
    with pytest.raises(Unintelligible) as caught:
        line.ask(unreadable)
    assert line.attempts == 3
    assert str(caught.value) == (
        "GET https://api.example.com/deals answered 200 with 20 bytes of text/html: "
        "the answer is a page of markup; a list of records was expected"
    )


def test_an_empty_body_is_told_as_one():
    with pytest.raises(Unintelligible, match=r"answered 200 with an empty body \(application/json\)"):
        Line(answer("")).ask(unreadable)


def test_what_could_be_read_the_second_time_is_well():
    bodies = iter([b"[", b"[]"])

    def read(got: Answer) -> bytes:
        if got.body != b"[]":
            raise Unintelligible("breaks off")
        return got.body

    assert Line(lambda request: answer(next(bodies))(request)).ask(read) == b"[]"


def test_an_answer_beyond_the_cap_is_not_asked_for_again():
    line = Line(answer("[" + "1," * 600 + "1]"))
    with pytest.raises(Unintelligible, match="more than 1,000 bytes; that is too large"):
        line.ask()
    assert line.attempts == 1


def test_a_certificate_that_cannot_be_trusted_is_said_at_once():
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "certificate has expired"
    error = httpx.ConnectError("tls")
    error.__cause__ = refused
    line = Line(error)
    with pytest.raises(Unavailable, match=r"certificate of api.example.com cannot be trusted: certificate has expired"):
        line.ask()
    assert line.attempts == 1


def test_our_own_limits_are_kept_by_waiting():
    line = Line(answer("[]"), options=Options(amount_unit="major", requests_per_minute=2))
    for _ in range(5):
        line.ask()
    assert line.clock.slept == [60, 60]


def test_a_long_wait_of_our_own_is_told_instead_of_slept():
    line = Line(answer("[]"), options=Options(amount_unit="major", requests_per_hour=1))
    line.ask()
    with pytest.raises(
        RateLimited,
        match=r"requests to api.example.com is used up for another 3600 s; it goes on at 2026-03-02T09:00:00\.000Z",
    ) as caught:
        line.ask()
    assert caught.value.retry_after_s == 3600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with https"), ("api.planhat.com", "must begin with https"), ("ftp://x.example", "https"),
        ("file:///etc/passwd", "https"), ("https://", "host"), ("https://u:pa55@x.example", "user"),
        ("https://x.example/?token=pa55", "query"), ("https://x.example?", "query"), ("https://x.example/#a", "frag"),
        ("http://x.example", "unencrypted"), ("http://10.0.0.1", "unencrypted"),
        ("http://127.0.0.1.evil.example", "unencrypted"), ("https://x.example:port", "no URL"),
        ("https://exa mple", "name a host"), ("https://x\n.example", "no URL"),
    ],
)  # fmt: skip
def test_a_base_url_that_cannot_work_or_is_unsafe_is_misconfigured(text: str, words: str):
    with pytest.raises(Misconfigured, match=words) as caught:
        base_url(text)
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://api-eu.planhat.com/", "http://127.0.0.1:8701", "http://localhost", "http://[::1]:80"]
)
def test_a_base_url_may_be_plain_on_this_machine_only(text: str):
    assert base_url(text).host in text


@pytest.mark.parametrize("secret", ["", " \n", "a\r\nX-Evil: 1", "a b", "ключ", "a\0b"])
def test_a_secret_that_could_split_a_header_is_misconfigured_and_not_told(secret: str):
    with pytest.raises(Misconfigured) as caught:
        header_value(secret, "token")
    assert str(caught.value).startswith("token ")
    assert "Evil" not in str(caught.value)
    assert header_value(f" {TOKEN}\n", "token") == TOKEN


def test_no_secret_is_in_any_message_log_line_or_repr(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as lines:
        told = []
        for entry in (
            answer(status=401),
            answer(status=404),
            answer("<html>"),
            httpx.ConnectError("no"),
            answer(status=429),
        ):
            line = Line(entry)
            with pytest.raises(Fault) as caught:
                line.ask(unreadable, params={"select": "private"})
            told += [str(caught.value), repr(caught.value), repr(line.transport)]
    assert lines[0] == {
        "event": "request", "log_level": "debug", "method": "GET", "path": "/deals", "status": 401, "ms": 0,
        "attempt": 1,
    }  # fmt: skip
    for text in (*told, str(lines), caplog.text, repr(account(None))):
        assert TOKEN not in text
    assert all("private" not in text for text in (*told, str(lines)))


def test_the_environment_names_no_proxy_for_us(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "no-such-scheme://127.0.0.1:9")  # whoever looks at it fails
    transport = Transport(account(None, base_url="http://127.0.0.1:1", give_up_after_s=0.0), {})
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:1 cannot be reached"):
        transport.ask(Ask(path="/deals"), lambda got: got.body)
    transport.close()


def test_times_over_there_are_read_from_http_dates_only():
    for text in ("", "soon", "Mon, 02 Mar 2026 09:00:00"):
        got = Answer(200, httpx.Headers({"date": text}), b"", NOW, 0.0)
        assert got.source_time is None
    assert datetime.fromisoformat(got.trusted_until) == datetime(2026, 3, 3, 8, tzinfo=UTC)


def budget(status: int, headers: httpx.Headers, _: str) -> News | None:
    """A vendor whose answers say in their own header how long to be quiet."""
    return News(0, float(headers["x-quiet"])) if "x-quiet" in headers else None


def test_what_an_answer_tells_of_the_budget_holds_back_the_next_request():
    line = Line(answer(x_quiet="45"), answer(), told=budget)
    line.ask()
    assert line.clock.slept == []
    line.ask()
    line.ask()
    assert line.clock.slept == [45]


def test_a_budget_used_up_for_long_is_rate_limited_without_sending_anything():
    line = Line(answer(x_quiet="1800"), answer(), told=budget)
    line.ask()
    with pytest.raises(RateLimited, match="used up for another 1800 s") as caught:
        line.ask()
    assert (caught.value.retry_after_s, line.attempts) == (1800, 1)
    line.clock.now += 1800
    assert line.ask() == b"[]"


@pytest.mark.parametrize(("headers", "waited"), [({"x_quiet": "20"}, 20), ({"x_quiet": "0", "retry_after": "3"}, 3)])
def test_a_refusal_for_the_rate_waits_as_its_own_headers_say(headers: dict[str, str], waited: float):
    line = Line(answer(status=429, **headers), answer(), told=budget)
    assert line.ask() == b"[]"
    assert sum(line.clock.slept) == waited
