"""Any key can be overridden by an environment variable, and a variable that names none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.faults import SettingsError
from pipeline.settings import Settings, load

TWO = """
[connections.planhat-eu]
source = "planhat"
base_url = "https://api-eu.planhat.com"
token = { env = "EU_TOKEN" }
[connections.planhat-us]
source = "planhat"
base_url = "https://api-us4.planhat.com"
token = { env = "US_TOKEN" }
"""
EU = "DEALSYNC__CONNECTIONS__PLANHAT_EU__"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dealsync.toml"
    path.write_text(TWO)
    return path


def refused(file: Path, environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        load(file, environ)
    (only,) = raised.value.problems
    return only


def loaded(file: Path, **environ: str) -> Settings:
    return load(file, environ)


def test_text_numbers_lists_and_tables_override_what_the_file_says(file: Path):
    found = load(
        file,
        {
            f"{EU}BASE_URL": "https://api.planhat.com",
            f"{EU}PARK_LIMIT": "0.5",
            f"{EU}OPTIONS__PAGE_SIZE": "250",
            f"{EU}OPTIONS__SELECT": "false",
            f"{EU}OPTIONS__OVERLAP": "1h",
            f"{EU}WEBHOOK__SECRETS": '[{ env = "HOOK" }]',
            f"{EU}OWNERS": '{ file = "owners.csv" }',
            f"{EU}ACCOUNT": "42",
            "DEALSYNC__STORE__URL": "postgresql://me@db/deals",
            "DEALSYNC_LOG_LEVEL": "info",
            "PATH": "/bin",
        },
    )
    eu, us = found.connection("planhat-eu"), found.connection("planhat-us")
    assert (eu.base_url, eu.park_limit, eu.account) == ("https://api.planhat.com", 0.5, "42")
    assert (eu.options.page_size, eu.options.overlap.total_seconds()) == (250, 3600)
    assert eu.options.model_dump()["select"] is False
    assert eu.webhook is not None
    assert getattr(eu.owners, "file", None) == found.folder / "owners.csv"
    assert found.store.url == "postgresql://me@db/deals"
    assert us.base_url == "https://api-us4.planhat.com"


def test_a_variable_may_be_the_secret_or_say_where_it_is(file: Path):
    secret = load(file, {f"{EU}TOKEN": "over-canary-1"}).connection("planhat-eu")
    assert "canary" not in repr(secret)
    assert secret.credentials() == {"token": "over-canary-1"}
    named = {f"{EU}TOKEN": '{ env = "OTHER" }', "OTHER": "over-canary-2"}
    assert load(file, named).connection("planhat-eu").credentials() == {"token": "over-canary-2"}
    below = {f"{EU}TOKEN__ENV": "OTHER", "OTHER": "over-canary-3"}
    assert load(file, below).connection("planhat-eu").credentials() == {"token": "over-canary-3"}


def test_an_empty_variable_counts_as_unset(file: Path):
    found = load(file, {f"{EU}BASE_URL": "", "DEALSYNC__STORE__TYPO": " "})
    assert found.connection("planhat-eu").base_url == "https://api-eu.planhat.com"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("DEALSYNC__STORE__ULR", "store.ulr: unknown key; did you mean 'url'?"),
        ("DEALSYNC__STOER__URL", "stoer: unknown key; did you mean 'store'?"),
        (f"{EU}BASE_ULR", "connections.planhat-eu.base_ulr: unknown key; did you mean 'base_url'?"),
        (f"{EU}OPTIONS__PAGESIZE", "options.pagesize: unknown key; did you mean 'page_size'?"),
        ("DEALSYNC__CONNECTIONS__PLANHAT_UE__BASE_URL", "there is no connection 'planhat-ue' in the file"),
        ("DEALSYNC__STORE____URL", "has an empty part; write DEALSYNC__SECTION__KEY"),
        (f"{EU}PULL_EVERY", "connections.planhat-eu.pull_every: 'x y' is not a duration"),
        (f"{EU}PARK_LIMIT", "connections.planhat-eu.park_limit: found 'x y'; write a number"),
    ],
)
def test_a_variable_that_names_no_key_or_does_not_fit_is_told_by_its_name(file: Path, variable: str, said: str):
    told = refused(file, {variable: "x y"})
    assert told.startswith(f"environment variable {variable}: ")
    assert said in told


def test_a_variable_that_may_name_two_keys_is_refused(file: Path):
    file.write_text(TWO.replace("planhat-us", "planhat-eu--token"))
    told = refused(file, {"DEALSYNC__CONNECTIONS__PLANHAT_EU__TOKEN__ACCOUNT": "x"})
    assert (
        "is ambiguous, it may name connections.planhat-eu--token.account and connections.planhat-eu.token.account"
        in told
    )


def test_two_variables_for_one_key_are_refused(file: Path):
    told = refused(file, {"DEALSYNC__STORE__URL": "sqlite:///a.db", "DEALSYNC__STORE__url": "sqlite:///b.db"})
    assert "names the same key as DEALSYNC__STORE__URL; unset one of them" in told
