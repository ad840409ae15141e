"""The pages over real HTTP, on both databases: who may see them, what they show, and what their forms do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from edge import pages
from edge.pages.attention import LATE_AFTER
from edge.pages.door import OPEN
from pipeline import observe, schedule
from pipeline.audit import list_audits
from pipeline.schedule import Due
from pipeline.store import connections
from pipeline.store.session import later, now
from tests import servers
from tests.edge.conftest import TOKEN
from tests.edge.markup import Page
from tests.edge.operated import (
    ANN,
    FINANCE,
    HOSTILE,
    NAME,
    SECRETS,
    TOKENS,
    Lived,
    Operated,
    copied,
    live,
    opened,
    operated,
)

LOOKS = [
    "/", "/connections/planhat", "/connections/planhat/windows", "/connections/planhat/drift", "/deals",
    "/deals?connection=planhat", "/parked",
    "/held", "/held/1", "/incidents", "/incidents/1", "/backfills", "/backfills?connection=planhat", "/runs",
    "/runs?connection=planhat", "/audit", "/audit?connection=planhat&before=2", "/runs?before=1", "/audit?before=1",
    "/held?after=9", "/parked?after=999",
]  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lived: Lived) -> Iterator[Operated]:
    """Everything that can be looked at; nothing in this module takes any of it away."""
    folder = tmp_path_factory.mktemp("pages")
    if request.param == "sqlite":
        with copied(folder, lived) as made:
            yield made
    else:
        server, crm = request.getfixturevalue("postgres_server"), PlanhatSimulator(seed=7, deals=130, token=TOKEN)
        with servers.database(server) as url, opened(folder, url, crm) as app, operated(app, crm) as made:
            live(app, crm)
            yield made


@pytest.fixture(scope="module")
def ann(world: Operated) -> Iterator[httpx.Client]:
    with world.browser() as client:
        yield client


@pytest.fixture
def here(tmp_path: Path, lived: Lived) -> Iterator[Operated]:
    """A store of the test's own, in which it may do what it likes."""
    with copied(tmp_path, lived) as made:
        yield made


def look(client: httpx.Client, path: str, status: int = 200) -> Page:
    answer = client.get(path)
    assert answer.status_code == status, (path, answer.text)
    page = Page(answer.text)
    assert page.faults == [], path
    return page


def send(client: httpx.Client, page: Page, action: str, **given: str) -> httpx.Response:
    """Fill in a form of a page and send it, as a browser does."""
    form = page.form(action)
    assert form.method == "post"
    return client.post(action, data=form.filled(**given), headers={"Sec-Fetch-Site": "same-origin"})


def acted(world: Operated) -> list[tuple[object, ...]]:
    return [(one["who"], one["action"], one["reason"], one["outcome"]) for one in list_audits(world.app)]


def addresses() -> Iterator[tuple[str, str]]:
    """Every method and path that there is, with something in the place of each parameter."""
    for noun in pages.NOUNS:
        for route in noun.ROUTES:
            path = route.path.replace("{name}", NAME).replace("{id:int}", "1").replace("{path:path}", "nothing")
            for method in (route.methods or set()) - {"HEAD"}:
                yield method, path


def test_nobody_sees_a_page_or_acts_without_signing_in(world: Operated):
    before, known = acted(world), set(addresses())
    assert len(known) > 25
    forged = f"dealsync_session={'0' * 16}.9999999999.{'0' * 32}.{'0' * 64}"
    with world.browser(None) as client:
        client.follow_redirects = False
        for method, path in known - {(method, path) for method in ("GET", "POST") for path in OPEN}:
            for headers in (
                {},
                {"Cookie": forged},
                {"Cookie": f"dealsync_session={ANN}"},
                {"Authorization": f"Bearer {ANN}"},
            ):
                answer = client.request(
                    method, path, headers=headers, data={"reason": "x"} if method == "POST" else None
                )
                if method == "GET":
                    assert (answer.status_code, answer.headers["location"]) == (
                        303,
                        f"/login?next={path.replace('/', '%2F')}",
                    )
                else:
                    assert answer.status_code == 401
                assert not [one for one in world.crm.ids() if one in answer.text]
        assert client.get("/style.css").status_code == 200
    assert acted(world) == before


def test_every_page_is_whole_labelled_and_shows_no_secret(world: Operated, ann: httpx.Client):
    deals = [link for link in look(ann, "/deals").links if link.startswith("/deals/show")]
    parked = [link for link in look(ann, "/parked").links if link.startswith("/parked/")]
    backfills = [link for link in look(ann, "/backfills").links if link.startswith("/backfills/")]
    assert (len(deals), len(parked), len(backfills)) == (100, 2, 1)
    for path in [*LOOKS, *deals[:20], *parked, *backfills, "/login"]:
        answer = ann.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert Page(answer.text).faults == [], path
        assert not [one for one in SECRETS if one in answer.text], path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy


def test_every_link_of_every_page_leads_somewhere(ann: httpx.Client):
    seen, left = {"/style.css"}, ["/"]
    while left:
        path = left.pop(0)
        for link in look(ann, path).links:
            deals = sum(one.startswith("/deals/show") for one in seen)
            if link not in seen and not link.startswith("#") and (deals < 5 or not link.startswith("/deals/show")):
                seen.add(link)
                if link.endswith("/bytes"):
                    assert ann.get(link).status_code == 200
                else:
                    left.append(link)
    assert {"/audit", "/backfills/3", "/connections/planhat/windows"} <= seen
    assert len(seen) > 25


def test_the_text_of_a_source_is_never_markup(world: Operated, ann: httpx.Client):
    deal = f"{NAME}:{world.crm.ids()[0]}"
    shown = look(ann, f"/deals/show?id={deal}").text
    plain = HOSTILE.replace("\u202e", "\\u202e")
    assert shown.count(plain) >= 2, "the name, and the custom value"
    parked = [link for link in look(ann, "/parked").links if link.startswith("/parked/")]
    for path in ("/parked", *parked, "/audit", "/deals"):
        page = ann.get(path).text
        assert "<script" not in page
        assert "<b>" not in page
        assert "\u202e" not in page
    assert plain.replace('"', '\\"') in look(ann, parked[0]).text.replace("\\\\u202e", "\\u202e")


def test_money_is_shown_exactly_in_the_currency_of_the_ledger(world: Operated, ann: httpx.Client):
    deal = look(ann, f"/deals/show?id={NAME}:{world.crm.ids()[1]}")
    assert deal.text.count("1,234,567.00 USD") == 2, "field and event, in the ledger's currency"
    assert '"currency": "JPY"' in deal.text, "as the source said it"
    assert "revision 1" in deal.text
    assert "appended as" in deal.text


def test_the_overview_says_what_needs_a_person_before_all_else(ann: httpx.Client):
    page = look(ann, "/")
    assert page.text.index("need a person") < page.text.index("Connections")
    assert "2 parked: records or events" in page.text
    assert "16 events held: a run deleted too much" in page.text
    assert "1 event met something in the ledger" in page.text
    assert "the ledger does not hold what the source says, in 2 close months" in page.text
    assert {"/held?connection=planhat", "/parked?connection=planhat", "/incidents"} <= set(page.links)


LEADLEX = """
[connections.leads]
source = "leadlex"
base_url = "https://x.supabase.co/functions/v1/api-gateway"
token = { env = "PLANHAT_TOKEN" }
options = { plan = "starter" }
"""


def test_the_overview_knows_how_far_a_small_plan_lets_pulls_lie_apart(tmp_path: Path, crm: PlanhatSimulator):
    file = f"sqlite:///{tmp_path / 'store.db'}"
    with (
        opened(tmp_path, file, crm, more=TOKENS + LEADLEX) as app,
        operated(app, crm) as here,
        here.browser() as client,
    ):
        late = app.settings.connection("leads").options.least_interval() * LATE_AFTER
        assert late > timedelta(hours=2)
        for ago, needed in ((timedelta(hours=2), False), (late + timedelta(minutes=1), True)):
            with app.store.write() as tx:
                row = connections.enrol(tx, "leads", "leadlex")
                connections.succeeded(tx, row.id, later(now(tx), -ago))
            said = "nobody has read it for too long" in look(client, "/").text
            assert said is needed, ago


def test_lists_are_walked_page_by_page_each_row_once(world: Operated, ann: httpx.Client):
    seen: list[str] = []
    path: str | None = "/deals?connection=planhat"
    while path:
        page = look(ann, path)
        seen += [link for link in page.links if link.startswith("/deals/show")]
        path = next((link for link in page.links if "after=" in link), None)
    assert len(seen) == len(set(seen)) == 128


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404), ("/connections/planhut", 404), ("/connections/planhut/windows", 404), ("/parked/999", 404),
        ("/parked/one", 404), (f"/parked/{10**30}", 404), ("/held/999", 404), ("/backfills/0", 404),
        ("/deals/show?id=planhat:nobody", 404), ("/deals/show", 404), ("/deals?after=planhat:nobody", 404),
        ("/deals?connection=planhut", 404), ("/runs?before=one", 404), (f"/runs?before={'9' * 5000}", 404),
        ("/deals/show?id=%00%ff%3Cscript%3E", 404), ("/parked/999/bytes", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_on_a_page(ann: httpx.Client, path: str, status: int):
    page = look(ann, path, status)
    assert "That did not work" in page.text


def test_signing_in_needs_a_token_of_ours_and_goes_on_to_where_one_wanted(world: Operated):
    with world.browser(None) as client:
        asked = client.get("/deals?connection=planhat")
        form = Page(asked.text).form("/login")
        assert client.post("/login", data=form.filled(token=f"{ANN}x")).status_code == 401
        assert client.post("/login", data=form.filled(token="")).status_code == 401
        assert client.get("/").url.path == "/login"
        answer = client.post("/login", data=form.filled(token=f" {ANN} "))
        assert (answer.status_code, str(answer.url)) == (200, f"{world.url}/deals?connection=planhat")
        (said,) = [one.headers["set-cookie"] for one in answer.history if "set-cookie" in one.headers]
        assert "HttpOnly" in said
        assert "SameSite=strict" in said
        assert "Secure" not in said, "this browser speaks no TLS"
        assert ANN not in said


@pytest.mark.parametrize("over_tls", [{"Origin": "https://ops.example.com"}, {"X-Forwarded-Proto": "https"}])
def test_a_session_begun_over_tls_is_never_sent_without(world: Operated, over_tls: dict[str, str]):
    with world.browser(None) as client:
        client.follow_redirects = False
        answer = client.post("/login", data={"token": ANN, "next": "/"}, headers=over_tls)
        assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.test", "https://evil.test", "/\\evil.test", "evil.test", "/\t/evil.test", "/\n", "javascript:1"],
)
def test_signing_in_leads_nowhere_else(world: Operated, elsewhere: str):
    with world.browser(None) as client:
        client.follow_redirects = False
        answer = client.post("/login", data={"token": ANN, "next": elsewhere})
        assert answer.headers["location"] == "/"
        page = Page(client.get("/login", params={"next": elsewhere}).text)
        assert page.faults == []
        assert "/" in page.links


def test_signing_out_ends_the_session_of_the_browser(world: Operated):
    with world.browser() as client:
        answer = send(client, look(client, "/"), "/logout")
        assert answer.url.path == "/login"
        assert client.get("/deals").url.path == "/login"


def test_a_form_that_no_page_of_ours_sent_to_this_session_does_nothing(world: Operated, ann: httpx.Client):
    before, held = acted(world), len(schedule.due(world.app))
    with world.browser() as other:
        proof = look(other, "/").form("/logout").filled()["proof"]
    for method, path in addresses():
        if method == "POST" and path != "/login":
            for form in ({}, {"proof": ""}, {"proof": proof}, {"proof": "\u20ac"}):
                answer = ann.post(path, data={"reason": "x", **form})
                assert answer.status_code == 403, (path, form)
            good = {"proof": look(ann, "/").form("/logout").filled()["proof"], "reason": "x"}
            for site in ("cross-site", "same-site"):
                answer = ann.post(path, data=good, headers={"Sec-Fetch-Site": site})
                assert answer.status_code == 403, (path, site)
            assert ann.post(path, json=good).status_code == 415
    assert ann.post("/login", data={"token": ANN}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert (acted(world), len(schedule.due(world.app))) == (before, held)


def test_whoever_may_only_look_is_shown_no_form_and_acts_nowhere(world: Operated):
    before = acted(world)
    with world.browser(FINANCE) as client:
        for path in ("/connections/planhat", "/held/1", "/backfills", look(client, "/parked").links[-1]):
            assert [one.action for one in look(client, path).forms if one.method == "post"] == ["/logout"]
        proof = look(client, "/").form("/logout").filled()["proof"]
        for method, path in addresses():
            if method == "POST" and path not in ("/login", "/logout"):
                assert client.post(path, data={"proof": proof, "reason": "x"}).status_code == 403
        assert send(client, look(client, "/"), "/logout").url.path == "/login"
    assert acted(world) == before


def test_a_connection_is_paused_resumed_and_read_by_whoever_says_why(here: Operated):
    path, before = f"/connections/{NAME}", len(acted(here))
    with here.browser() as ann:
        page = look(ann, path)
        assert send(ann, page, f"{path}/pause", reason=" ").status_code == 422
        paused = Page(send(ann, page, f"{path}/pause", reason=HOSTILE).text)
        assert paused.faults == []
        assert "Paused." in paused.text
        assert "by ann" in paused.text
        resumed = send(ann, paused, f"{path}/resume", reason="over").text
        assert "Resumed." in resumed
        forms = [one for one in Page(resumed).forms if one.action == f"{path}/ask"]
        assert [one.filled()["verb"] for one in forms] == ["pull", "sweep", "reconcile"]
        answer = ann.post(f"{path}/ask", data=forms[2].filled(reason="month end"))
        assert "Asked for." in answer.text
        assert ann.post(f"{path}/ask", data=forms[2].filled(reason="x", verb="drop")).status_code == 409
        assert ann.post("/connections/planhut/ask", data=forms[2].filled(reason="x")).status_code == 409
    assert Due("reconcile", NAME) in schedule.due(here.app)
    assert [(one[1], one[2]) for one in acted(here)[before:]] == [
        ("pause", HOSTILE), ("resume", "over"), ("reconcile", "month end"),
    ]  # fmt: skip


def test_what_is_parked_or_held_is_decided_on_its_page(here: Operated):
    with here.browser() as ann:
        first, second = [link for link in look(ann, "/parked").links if link.startswith("/parked/")]
        assert "Tried again" in send(ann, look(ann, first), f"{first}/retry", reason="mended").text
        assert "UNKNOWN_STAGE" in look(ann, first).text, "it cannot be read yet"
        gone = Page(send(ann, look(ann, second), f"{second}/discard", reason="a test deal").text)
        assert "ann: a test deal" in gone.text
        assert [one.action for one in gone.forms if one.method == "post"] == ["/logout"], "it is decided"
        page = look(ann, "/held/1")
        released = Page(send(ann, page, "/held/1/release", reason="meant so").text)
        assert "released by ann" in released.text
        assert send(ann, page, "/held/1/discard", reason="too late").status_code == 409
        assert "Nothing is held here" in look(ann, "/held").text
        found = Page(send(ann, look(ann, "/incidents/1"), "/incidents/1/acknowledge", reason="another sender").text)
        assert "acknowledged by ann" in found.text
        assert "There are no incidents" in look(ann, "/incidents").text
    assert [one[:3] for one in acted(here)[-4:-1]] == [
        ("ann", "parked retry", "mended"), ("ann", "parked discard", "a test deal"),
        ("ann", "held release", "meant so"),
    ]  # fmt: skip


def test_a_backfill_is_looked_at_before_it_can_be_carried_out(here: Operated):
    with here.browser() as ann:
        page = look(ann, "/backfills")
        page.forms = [one for one in page.forms if one.method == "post"]  # the other narrows the list
        wrong = send(ann, page, "/backfills", connection=NAME, since="soon", reason="x")
        assert (wrong.status_code, "neither a day" in wrong.text) == (422, True)
        planned = send(ann, page, "/backfills", connection=NAME, since="2024-06-01", reason="a new field")
        assert "Planned." in planned.text
        path = planned.url.path
        while "A dry run says" not in planned.text or "unchanged" not in planned.text:
            planned = ann.get(path)
        assert {one.action for one in Page(planned.text).forms} == {"/logout", f"{path}/resume", f"{path}/cancel"}
        running = send(ann, Page(planned.text), f"{path}/resume", reason="as planned")
        assert "Left to whoever works on backfills" in running.text
        paused = send(ann, Page(running.text), f"{path}/pause", reason="wait")
        assert "paused by ann" in paused.text
        assert "backfill" in look(ann, "/").text
        cancelled = send(ann, Page(paused.text), f"{path}/cancel", reason="not needed")
        assert {one.action for one in Page(cancelled.text).forms} == {"/logout", f"{path}/resume"}


def test_what_nobody_foresaw_is_told_on_a_page_without_its_text(here: Operated):
    observe.configure("json", "error")
    with here.app.store.write() as tx:
        tx.execute(text("UPDATE reconciliation_windows SET held = 'bug-canary'"))
    with here.browser() as ann:
        page = look(ann, f"/connections/{NAME}/windows", 500)
        assert "report it with the log line that carries report=" in page.text
        assert "canary" not in page.text
        assert "Traceback" not in page.text


def test_a_store_without_anything_has_pages_too(tmp_path: Path):
    crm = PlanhatSimulator(seed=7, deals=1, token=TOKEN)
    store = f"sqlite:///{tmp_path / 'store.db'}"
    with opened(tmp_path, store, crm) as app, operated(app, crm) as world, world.browser() as ann:
        for path in LOOKS:
            if not path.startswith(("/held/", "/incidents/")):
                look(ann, path)


def test_an_address_puts_no_words_in_our_mouth(ann: httpx.Client):
    said: Any = look(ann, "/?done=Everything+was+deleted").text
    assert "deleted" not in said.partition("need a person")[0]
