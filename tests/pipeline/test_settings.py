"""The configuration: every key has its place, every problem is told at once, no secret is ever repeated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.registry import source as source_named
from pipeline.faults import SettingsError, Unknown
from pipeline.redaction import scrub
from pipeline.settings import Settings, load

WHOLE = """
[store]
url = "postgresql://dealsync@db/deals"
[broker]
url = "redis://queue:6379/0"
[ledger]
kind = "openquota"
url = "https://api.openquota.ai/v1"
api_key = { env = "OPENQUOTA_API_KEY" }
currency = " eur "
requests_per_minute = 600
[connections.planhat-eu]
source = "planhat"
base_url = "https://api-eu.planhat.com"
token = { env = "PLANHAT_TOKEN" }
mapping = "mappings/planhat.toml"
pull_every = "5m"
sweep_every = "1d"
reconcile_every = "12h"
currency_policy = "convert"
default_currency = "USD"
rates = { file = "rates.csv" }
owners = { file = "owners.csv" }
owner_policy = "null"
external_id_prefix = "planhat"
park_limit = 0.5
account = "acme"
[connections.planhat-eu.webhook]
secrets = [{ env = "PLANHAT_HOOK_SECRET" }, { file = "hook" }]
path_segments = [{ env = "PLANHAT_HOOK_PATH" }]
scheme = "header"
header = "X-Planhat-Secret"
tolerance = "5m"
workspace_id = "w1"
[connections.planhat-eu.options]
amount_unit = "minor"
page_size = 500
"""
SMALL = """
[connections.planhat-eu]
source = "planhat"
base_url = "https://api-eu.planhat.com"
token = { env = "PLANHAT_TOKEN" }
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        file = tmp_path / "dealsync.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return written


def problems(file: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(file, environ or {})
    return raised.value.problems


def problem(file: Path | None, environ: dict[str, str] | None = None) -> str:
    (only,) = problems(file, environ)
    return only


def test_every_key_arrives_under_its_name(write: Write):
    found = load(write(WHOLE), {"OPENQUOTA_API_KEY": "oqp_key", "PLANHAT_TOKEN": "ph-token"})
    connection = found.connection("planhat-eu")
    assert found.store.url == "postgresql://dealsync@db/deals"
    assert found.broker.url == "redis://queue:6379/0"
    assert (found.ledger.kind, found.ledger.currency, found.ledger.requests_per_minute) == ("openquota", "EUR", 600)
    assert found.ledger.api_key is not None
    assert found.ledger.api_key.reveal() == "oqp_key"
    assert connection.credentials() == {"token": "ph-token"}
    assert (connection.pull_every, connection.sweep_every) == (timedelta(minutes=5), timedelta(days=1))
    assert (connection.currency_policy, connection.owner_policy, connection.park_limit) == ("convert", "null", 0.5)
    assert getattr(connection.owners, "file", None) == found.folder / "owners.csv"
    assert connection.rates is not None
    assert connection.rates.file == found.folder / "rates.csv"
    assert connection.webhook is not None
    assert len(connection.webhook.secrets) == 2
    assert [one.env for one in connection.webhook.path_segments] == ["PLANHAT_HOOK_PATH"]
    assert connection.options.page_size == 500
    assert connection.options.amount_unit == "minor"
    assert found.folder == found.file.parent


def test_an_empty_file_is_a_configuration_of_defaults(write: Write):
    found = load(write(""), {})
    assert found.store.url == f"sqlite:///{found.folder / 'dealsync.db'}"
    assert (found.broker.url, found.ledger.kind, found.ledger.currency) == ("none", "embedded", "USD")
    assert found.connections == {}


def test_defaults_of_a_connection_are_those_of_the_design(write: Write):
    connection = load(write(SMALL), {}).connection("planhat-eu")
    assert connection.mapping is None
    assert connection.external_id_prefix is None
    assert (connection.currency_policy, connection.owners, connection.owner_policy) == ("park", "source_id", "park")
    assert (connection.park_limit, connection.pull_every) == (0.2, timedelta(minutes=5))
    assert (connection.delete_limit, connection.reconcile_every) == (0.1, timedelta(hours=24))
    assert connection.options.amount_unit == "major"


def test_an_sqlite_file_lies_beside_the_configuration_wherever_the_command_runs(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write('[store]\nurl = "sqlite:///data/deals.db?timeout=5"')
    monkeypatch.chdir("/")
    assert load(file, {}).store.url == f"sqlite:///{tmp_path}/data/deals.db?timeout=5"
    assert load(write('[store]\nurl = "sqlite:////var/deals.db"'), {}).store.url == "sqlite:////var/deals.db"


def test_the_file_is_found_by_option_then_variable_then_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("option", "variable", "dealsync"):
        (tmp_path / f"{name}.toml").write_text(f'[store]\nurl = "sqlite:///{name}.db"')
    monkeypatch.chdir(tmp_path)
    environ = {"DEALSYNC_CONFIG": str(tmp_path / "variable.toml")}

    def store(found: Settings) -> str:
        return Path(found.store.url.removeprefix("sqlite:///")).stem

    assert store(load(tmp_path / "option.toml", environ)) == "option"
    assert store(load(None, environ)) == "variable"
    assert store(load(None, {"DEALSYNC_CONFIG": " "})) == "dealsync"


def test_a_missing_configuration_says_what_writes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}/dealsync.toml; `dealsync init` writes one" in problem(None)
    assert "(from DEALSYNC_CONFIG)" in problem(None, {"DEALSYNC_CONFIG": "gone.toml"})
    assert "(from --config)" in problem(Path("gone.toml"))
    assert "is not a file" in problem(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[store\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
        (b"[store]\nurl = 1\nurl = 2\n", "is not TOML: Cannot overwrite a value"),
        (b"\xff\xfe[store]", "byte 0 is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1 MB"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"\xef\xbb\xbf[store]\nurl = 3", "store.url: write an address as text"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_place(tmp_path: Path, content: bytes, said: str):
    file = tmp_path / "dealsync.toml"
    file.write_bytes(content)
    assert said in problem(file)
    assert str(file) in problem(file)


HOOK = f"{SMALL}[connections.planhat-eu.webhook]\nsecrets = [{{ env = 'S' }}]\n"


@pytest.mark.parametrize("source", ["planhat", "monaco", "leadlex", "cpod"])
def test_a_workspace_is_refused_where_no_delivery_could_ever_tell_of_it(write: Write, source: str):
    text = f"""
[connections.crm]
source = "{source}"
base_url = "https://api.crm.example"
token = {{ env = "TOKEN" }}
options = {{ amount_unit = "major" }}
webhook = {{ secrets = [{{ env = "S" }}], workspace_id = "ours" }}
"""
    if source_named(source).webhooks.tells_workspace:
        assert load(write(text), {}).connections["crm"].webhook is not None
    else:
        assert problem(write(text)).endswith(
            "connections.crm.webhook: deliveries of this source do not say which workspace they come from; "
            "remove workspace_id"
        )
    assert source_named(source).webhooks.tells_workspace == (source != "monaco")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[stor]", "stor: unknown key; did you mean 'store'?"),
        ("file = 1", "file: unknown key; known: broker, connections, ledger, serve, store"),
        ('[store]\nulr = "x"', "store.ulr: unknown key; did you mean 'url'?"),
        ('[store]\nurl = "mysql://h/db"', "store.url: the database 'mysql' is not supported"),
        ('[store]\nurl = "sqlite:///:memory:"', "store.url: the store must be a file"),
        ('[store]\nurl = "dealsync.db"', "store.url: this is no address; write sqlite:///dealsync.db"),
        ('[broker]\nurl = "rediss"', "broker.url: this is no address"),
        ('[broker]\nurl = "rabbit://h"', "broker.url: the broker 'rabbit' is not supported"),
        ('[ledger]\nkind = "openquotas"', "ledger.kind: found 'openquotas'; use 'embedded' or 'openquota'"),
        ('[ledger]\nkind = "openquota"', 'ledger: kind = "openquota" needs api_key'),
        ("[ledger]\nrequests_per_minute = 3", 'requests_per_minute can only be set with kind = "openquota"'),
        ('[ledger]\ncurrency = "usdx"', "ledger.currency: 'usdx' is not an ISO 4217 currency code"),
        (
            SMALL.replace("planhat-eu]", "Planhat]"),
            "connections.Planhat: found 'Planhat'; use a to z, 0 to 9 and - inside",
        ),
        ('connections = "planhat"', "connections: found 'planhat'; write a table"),
        (f'{SMALL}pull_evry = "5m"', "connections.planhat-eu.pull_evry: unknown key; did you mean 'pull_every'?"),
        (f'{SMALL}pull_every = "soon"', "pull_every: 'soon' is not a duration; write a number and a unit"),
        (f'{SMALL}pull_every = "0s"', "pull_every: found '0s'; it should be greater than or equal to"),
        (f"{SMALL}pull_every = 5", "pull_every: a duration is text with a unit"),
        (f"{SMALL}park_limit = 3", "park_limit: found 3; it should be less than or equal to 1"),
        (f"{SMALL}park_limit = true", "park_limit: found true; write a number"),
        (f'{SMALL}owners = "emial"', 'owners: found \'emial\'; write "source_id", "email" or { file = "owners.csv" }'),
        (f'{SMALL}rates = "x.csv"', 'rates: write { file = "name.csv" }'),
        (f'{SMALL}rates = {{ file = "x.csv" }}', 'currency_policy = "convert" need each other'),
        (f'{SMALL}client_id = "x"', "connections.planhat-eu: planhat takes no client_id; remove it"),
        (f"{SMALL}webhook = {{ secrets = [] }}", "webhook.secrets: the value does not fit; write at least one entry"),
        (f"{HOOK}header = 'X-Secret:'", "webhook.header: write the name of a header without a colon or a blank"),
        (f"{HOOK}delivery_header = ''", "webhook.delivery_header: write the name of a header"),
        (f"{HOOK}delivery_header = 'x-planhat-secret'", "webhook: delivery_header and header name one header"),
        (f"{HOOK}scheme = 'hmac'", "connections.planhat-eu.webhook: scheme 'hmac' needs signature_header"),
        (
            f"{HOOK}scheme = 'hmac'\nsignature_header = 'X-S'\nsigned = 'timestamp.body'",
            "connections.planhat-eu.webhook: signed = 'timestamp.body' needs timestamp_header",
        ),
        (
            f"{HOOK}scheme = 'leadlex'\nsignature_header = 'X-S'",
            "connections.planhat-eu.webhook: scheme 'leadlex' bounds the time inside the body",
        ),
        (f"{HOOK}path_segments = {{ env = 'A' }}", "webhook.path_segments: the value does not fit; write a list"),
        (f"{SMALL}options = 3", "connections.planhat-eu.options: found 3; write a table"),
        (f"{SMALL}options = {{ page_sise = 1 }}", "options.page_sise: unknown key; did you mean 'page_size'?"),
        (
            f"{SMALL}options = {{ page_size = 1 }}",
            "options.page_size: found 1; it should be greater than or equal to 2",
        ),
        (f'{SMALL}options = {{ timeout = "x" }}', "options.timeout: 'x' is not a duration"),
        (SMALL.replace('"planhat"', '"planhatt"'), "source: there is no source 'planhatt'; did you mean 'planhat'?"),
        (SMALL.replace("https", "ftp"), "base_url: must begin with https://"),
        (SMALL.replace("https", "http"), "base_url: would send the credentials to api-eu.planhat.com unencrypted"),
        (SMALL.replace('{ env = "PLANHAT_TOKEN" }', "{ }"), "token: a secret has either env or file"),
        (SMALL.replace('"PLANHAT_TOKEN"', '"PLANHAT-TOKEN"'), "token: env must be the name of an environment variable"),
        (SMALL.replace("token", "# token"), "connections.planhat-eu: planhat needs token; write { env"),
        ('[serve]\napi_tokens = [{ env = "A", nam = "x" }]', "serve.api_tokens.0: a secret has either env or file"),
        ('[serve]\napi_tokens = [{ env = "A", name = "" }]', "serve.api_tokens.0: name must be text of 1 to 64"),
        ('[serve]\napi_tokens = [{ env = "A", read_only = 1 }]', "serve.api_tokens.0: read_only must be true or false"),
        ('[serve]\napi_tokens = [{ env = "A" }, { env = "A" }]', "serve: 2 api_tokens are called 'A'"),
        ("[serve]\napi_token = []", "serve.api_token: unknown key; did you mean 'api_tokens'?"),
        (
            f'{SMALL}external_id_prefix = "x"\n{SMALL.replace("planhat-eu", "other")}external_id_prefix = "x"',
            "2 connections give their deals the external_id_prefix 'x'",
        ),
    ],
)
def test_a_wrong_value_is_told_with_file_key_finding_and_remedy(write: Write, text: str, said: str):
    file = write(text)
    told = problem(file)
    assert said in told
    assert told.startswith(f"{file}: ")
    assert "\n" not in told


def test_all_problems_are_told_at_once(write: Write):
    text = WHOLE.replace("planhat.com", "planhat.com?x=1").replace("5m", "5 min").replace("= 500", '= "many"')
    told = problems(write(text.replace("[store]", "[stores]")), {"DEALSYNC__BROKER__ULR": "x"})
    assert len(told) == 6, told


CANARIES = ("literal-canary-1", "s3cr3t-canary-2", "canary-pass-3", "p%40ss-canary-4", "canary-5-unknown")


def test_a_literal_secret_is_refused_and_never_repeated(write: Write):
    text = f"""
[store]
url = "postgres://me:{CANARIES[2]}@db/deals"
[broker]
url = "redis://:{CANARIES[3]}@queue:x/0"
[ledger]
kind = "openquota"
api_key = "{CANARIES[0]}"
[connections.a]
source = "planhat"
base_url = "https://me:{CANARIES[1]}@api.planhat.com"
token = ["{CANARIES[0]}"]
tokn = "{CANARIES[4]}"
webhook = {{ secrets = ["{CANARIES[1]}", {{ env = "{CANARIES[1]}" }}], path_segments = ["{CANARIES[2]}"] }}
[connections.b]
source = "planhat"
base_url = "https://api.planhat.com"
token = {{ env = "T" }}
webhook = {{ secrets = [{{ env = "S" }}], path_segments = "{CANARIES[3]}" }}
"""
    told = "\n".join(problems(write(text), {"DEALSYNC__CONNECTIONS__A__WEBHOOK__HEADER": ""}))
    assert told.count("a secret is not written into the configuration") == 4
    assert not [canary for canary in (*CANARIES, "p@ss-canary-4") if canary in told]
    for canary in CANARIES[:4]:
        assert scrub(f"seen {canary} again") == "seen [secret] again"


def test_a_token_of_the_operations_api_has_a_name_and_never_its_text(write: Write, tmp_path: Path):
    (tmp_path / "finance.txt").write_text("token-canary-8\n")
    tokens = '{ env = "ANN" }, { file = "finance.txt", read_only = true }, { env = "B", name = "bob" }'
    found = load(write(f"[serve]\napi_tokens = [{tokens}]"), {}).serve.api_tokens
    assert [(one.name, one.read_only) for one in found] == [("ANN", False), ("finance", True), ("bob", False)]
    assert found[1].secret.reveal() == "token-canary-8"
    assert "canary" not in repr(found)
    with pytest.raises(SettingsError, match=r"serve.api_tokens\[0\]: the environment variable ANN is not set"):
        found[0].secret.reveal()
    given = load(write(""), {"DEALSYNC__SERVE__API_TOKENS": '[{ env = "ANN" }]'})
    assert given.serve.api_tokens[0].name == "ANN"
    (told,) = problems(write('[serve]\napi_tokens = ["literal-canary-9"]'))
    assert "a secret is not written into the configuration" in told
    assert "canary" not in told + problem(write(""), {"DEALSYNC__SERVE__API_TOKENS": "literal-canary-9"})


def test_a_hostile_key_or_value_is_told_harmlessly(write: Write):
    hostile = "\\u001b[2J\\nforged\\u202e"
    told = problems(write(f'"{hostile}" = 1\n[ledger]\nkind = "{hostile}"\n[connections."{hostile}"]'))
    assert len(told) >= 3
    assert all(line.isprintable() for line in told)


def test_a_secret_is_read_when_it_is_needed_and_never_shown(write: Write, tmp_path: Path):
    (tmp_path / "hook").write_text("hook-canary-7\n")
    environ = {"PLANHAT_TOKEN": "env-canary-6", "PLANHAT_HOOK_SECRET": "x"}
    found = load(write(WHOLE), environ)
    connection = found.connection("planhat-eu")
    assert connection.webhook is not None
    assert scrub("env-canary-6") == "env-canary-6", "nobody asked for it yet"
    assert connection.credentials()["token"] == "env-canary-6"
    assert connection.webhook.secrets[1].reveal() == "hook-canary-7"
    assert scrub("env-canary-6 hook-canary-7") == "[secret] [secret]"
    shown = f"{found!r} {found} {connection!r}"
    assert "canary" not in shown
    assert "Secret(env='PLANHAT_TOKEN')" in shown


@pytest.mark.parametrize(("environ", "said"), [({}, "is not set"), ({"PLANHAT_TOKEN": " "}, "is empty")])
def test_an_unset_or_empty_variable_is_told_with_the_key_it_is_for(write: Write, environ: dict[str, str], said: str):
    connection = load(write(SMALL), environ).connection("planhat-eu")
    with pytest.raises(SettingsError, match=f"connections.planhat-eu.token: .* PLANHAT_TOKEN {said}; set it"):
        connection.credentials()


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"abc\n", "abc"), (b"abc\r\n", "abc"), (b"abc\n\n", "abc\n"), (b" abc ", " abc ")],
)
def test_a_secret_file_loses_one_line_break_at_its_end(write: Write, tmp_path: Path, content: bytes, secret: str):
    (tmp_path / "token").write_bytes(content)
    found = load(write(SMALL.replace('env = "PLANHAT_TOKEN"', 'file = "token"')), {})
    assert found.connection("planhat-eu").credentials() == {"token": secret}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\0b", "holds a NUL character"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * 70_000, "is larger than 64 kB"),
    ],
)
def test_a_secret_file_that_cannot_be_one_is_told(write: Write, tmp_path: Path, content: bytes | None, said: str):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    found = load(write(SMALL.replace('env = "PLANHAT_TOKEN"', 'file = "token"')), {})
    with pytest.raises(SettingsError, match=f"connections.planhat-eu.token: .*{tmp_path}/token:? {said}"):
        found.connection("planhat-eu").credentials()


def test_a_folder_is_no_secret_file(write: Write, tmp_path: Path):
    found = load(write(SMALL.replace('env = "PLANHAT_TOKEN"', 'file = "."')), {})
    with pytest.raises(SettingsError, match="Is a directory"):
        found.connection("planhat-eu").credentials()


def test_an_unknown_connection_is_told_with_the_nearest_name(write: Write):
    found = load(write(SMALL), {})
    with pytest.raises(Unknown, match=r"there is no connection 'planhat-ue' in .*; did you mean 'planhat-eu'\?"):
        found.connection("planhat-ue")
    with pytest.raises(Unknown, match=r"'\?\[2Jx'"):
        found.connection("\x1b[2Jx")


@settings(
    deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_stands_in_a_file_ends_in_settings_or_in_problems(tmp_path: Path, data: st.DataObject):
    lines = WHOLE.splitlines()
    scalars = st.sampled_from(
        ['"x"', "3", "-1", "true", "1.5", "[]", "{}", "{ env = 3 }", "1979-05-27", '"\\u0000"', "nan"]
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[at].partition(" = ")
        lines[at] = f"{key}{equals}{data.draw(scalars)}" if equals else data.draw(st.sampled_from(["[x]", "x = 1", ""]))
    file = tmp_path / "dealsync.toml"
    file.write_text("\n".join(lines))
    told: list[str] = []
    try:
        load(file, {})
    except SettingsError as error:
        told = error.problems or [""]
    assert all(line and "\n" not in line and len(line) < 600 for line in told)
