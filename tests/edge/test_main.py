"""The command line as a whole: usage, faults, bugs, interrupts, closed pipes, hostile arguments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from edge.cli import main
from tests.edge.conftest import Cli

DEALSYNC = (sys.executable, "-c", "from edge.cli.main import main; main()")
ROOT = Path(__file__).parents[2]


def started(*arguments: str, **settings: object) -> subprocess.Popen[bytes]:
    """A command in a process of its own, which hears Ctrl-C even where the tests run in the background."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [*DEALSYNC, *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **settings,
    )


@pytest.fixture
def breaking() -> Iterator[None]:
    """A command that fails as only a bug does."""

    @main.app.command("break")
    def break_(kind: str) -> None:
        secret = "local-canary"
        raise {"value": ValueError, "interrupt": KeyboardInterrupt, "system": SystemExit}[kind](len(secret))

    yield
    main.app.registered_commands.pop()


COMMANDS = [
    *(
        "demo",
        "init",
        "check",
        "pull",
        "sweep",
        "publish",
        "fetch",
        "explain",
        "status",
        "doctor",
        "migrate",
        "serve",
        "sandbox",
    ),
    *("deals", "parked", "mapping", "ledger"),
    *("deals list", "deals show", "parked list", "parked show", "parked retry", "parked discard"),
    *(
        "mapping lint",
        "mapping show",
        "mapping preview",
        "mapping suggest",
        "mapping drift",
        "ledger serve",
        "ledger verify",
        "ledger rebuild",
    ),
    *("ledger keys", "ledger keys create", "ledger keys list", "ledger keys revoke"),
    "backfill",
    "reconcile",
    "recover",
    "up",
    "pause",
    "resume",
    "audit",
    "held",
    "held list",
    "held show",
    "held release",
    "held discard",
    "incidents",
    "incidents list",
    "incidents show",
    "incidents acknowledge",
    "deliveries",
    "deliveries list",
    "checkpoint",
    "checkpoint show",
    "checkpoint reset",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str):
    ended = cli(*command.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: dealsync {command} [OPTIONS]")
    if "COMMAND [ARGS]" not in ended.out:
        assert all(option in ended.out for option in ("--json", "--config", "--quiet"))


def test_the_list_of_commands_is_complete(cli: Cli):
    listed = cli("--help").out.partition("Commands:\n")[2].partition("\n\n")[0]
    shown = {line.split()[0] for line in listed.splitlines()}
    assert shown == {command for command in COMMANDS if " " not in command}


def test_version_and_help_go_to_stdout(cli: Cli):
    assert cli("--version").out == "dealsync 0.1.0\n"
    assert cli("--help").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Usage: dealsync"),
        (("pul",), "Did you mean 'pull'"),
        (("pull",), "Missing argument 'CONNECTION'"),
        (("pull", "x", "--jsn"), "--json"),
        (("deals",), "Usage: dealsync deals"),
        (("deals", "list", "--limit", "0"), "--limit"),
        (("deals", "list", "--limit", "1e3"), "--limit"),
        (("parked", "discard", "1"), "--reason"),
        (("parked", "show", "-1"), "-1"),
        (("sandbox", "--port", "65536"), "--port"),
        (("pull", "x", "--token", "abc"), "--token"),
    ],
)
def test_wrong_usage_ends_with_2_and_is_told_on_stderr(cli: Cli, arguments: tuple[str, ...], said: str):
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_missing_configuration_ends_with_3_and_says_what_writes_one(cli: Cli, tmp_path: Path):
    ended = cli("status")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        f"dealsync: there is no configuration at {tmp_path}/dealsync.toml; `dealsync init` writes one, "
        "`--config` names another\n"
    )


def test_every_problem_of_a_configuration_is_a_line(cli: Cli, tmp_path: Path):
    (tmp_path / "bad.toml").write_text('[stor]\n[ledger]\nkind = "x"\napi_key = "literal-canary-9"\n')
    ended = cli("--config", "bad.toml", "pull", "planhat")
    assert ended.code == 3
    assert len(ended.err.splitlines()) == 3
    assert all(line.startswith(f"dealsync: {tmp_path}/bad.toml: ") for line in ended.err.splitlines())
    assert "canary" not in ended.err


def test_with_json_a_fault_is_the_document_too(cli: Cli):
    ended = cli("status", "--json")
    assert ended.code == 3
    assert ended.document["error"]["code"] == 3
    assert "there is no configuration" in ended.document["error"]["messages"][0]


@pytest.mark.parametrize("arguments", [("pul",), ("pull",), ("parked", "discard", "1"), ("backfill", "show", "x")])
def test_with_json_wrong_usage_is_the_document_too(cli: Cli, arguments: tuple[str, ...]):
    ended = cli(*arguments, "--json")
    assert (ended.code, ended.document["error"]["code"]) == (2, 2)
    assert ended.document["error"]["messages"][0] in ended.err.replace("\n", " ")


def test_the_later_config_wins_and_may_stand_before_the_command(cli: Cli, tmp_path: Path):
    assert "/a.toml (from --config)" in cli("--config", "a.toml", "status").err
    assert "/b.toml (from --config)" in cli("--config", "a.toml", "status", "--config", "b.toml").err


def test_a_bug_is_one_line_with_a_number_and_a_log_line_with_the_traceback(cli: Cli, breaking: None):
    ended = cli("break", "value")
    assert (ended.code, ended.out) == (1, "")
    *logged, line = ended.err.splitlines()
    number = line.rpartition("report=")[2]
    assert line.startswith("dealsync: this is a bug in dealsync (ValueError); report it")
    assert number in "\n".join(logged)
    assert "Traceback" in "\n".join(logged)
    assert "local-canary" not in "\n".join(logged).replace('secret = "local-canary"', "")


def test_ctrl_c_ends_with_130(cli: Cli, breaking: None):
    ended = cli("break", "interrupt")
    assert ended.code == 130
    assert ended.err == "dealsync: interrupted; what was committed stays, run it again to go on\n"


def test_hostile_arguments_are_shown_harmlessly(cli: Cli):
    ended = cli("status", "--config", "\x1b[2J\nforged: line\u202e")
    assert ended.code == 3
    assert len(ended.err.splitlines()) == 1
    assert "\x1b" not in ended.err
    assert cli("\x1b[2J").code == 2


def test_an_unknown_log_level_or_format_is_told_and_stops_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEALSYNC_LOG_LEVEL", "loud")
    assert "DEALSYNC_LOG_LEVEL: 'loud' is no log level" in cli("init").err
    monkeypatch.setenv("DEALSYNC_LOG_LEVEL", "info")
    monkeypatch.setenv("DEALSYNC_LOG_FORMAT", "yaml")
    assert "neither json nor console" in cli("init", "--force").err


def test_a_reader_that_goes_away_costs_no_traceback(tmp_path: Path):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*DEALSYNC, "init"], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, b"")
    assert (tmp_path / "dealsync.toml").exists()


@pytest.mark.parametrize(("redirect", "code"), [(">&-", 0), (">/dev/full", 6), ("2>&-", 0)])
def test_a_closed_or_full_stdout_costs_no_traceback(redirect: str, code: int):
    shell = f"{sys.executable} -c 'from edge.cli.main import main; main()' init --force {redirect}"
    process = subprocess.run(
        ["/bin/sh", "-c", shell], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert process.returncode == code
    assert b"Traceback" not in process.stderr
    assert b"Exception" not in process.stderr


def test_a_terminal_of_another_encoding_gets_escapes(tmp_path: Path):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = subprocess.run(
        [*DEALSYNC, "init", "--config", str(tmp_path / "café.toml")], env=environ, capture_output=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"caf\\xe9.toml" in process.stdout


def test_help_is_there_at_once():
    begun = time.process_time()
    typer.main.get_command(main.app)
    heavy = {"sqlalchemy", "httpx", "pydantic", "rich", "uvicorn", "structlog", "celery", "fastapi", "msgspec"}
    listed = "import sys, edge.cli.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", listed], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert not heavy & set(loaded.stdout.decode().split())
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_server_says_where_it_listens_and_ends_when_told(number: signal.Signals, code: int):
    import httpx

    process = started("sandbox", "--port", "0", "--deals", "3", "--json")
    try:
        assert process.stdout is not None
        opening = b"".join(iter(process.stdout.readline, b"}\n")) + b"}"
        url = json.loads(opening)["url"]
        answer = httpx.get(f"{url}/deals", headers={"Authorization": "Bearer sandbox"}, trust_env=False)
        assert len(answer.json()) == 3
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert out == b""
    assert len(err.splitlines()) == (0 if code == 0 else 1)
    assert b"GET" not in err, "it shares a terminal with the commands that are tried on it"


def test_a_taken_port_is_told(cli: Cli):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cli("sandbox", "--port", taken.getsockname()[1])
    assert ended.code == 7
    assert "Address already in use; choose another with --host and --port" in ended.err
    assert cli("sandbox", "--host", "no.such.host.invalid").code == 7
