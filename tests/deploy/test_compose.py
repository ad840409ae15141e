"""The services of compose: one worker a queue, all of them after the migration, and no secret in any file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.secret import Secret
from pipeline.settings import load
from tests.deploy.files import DEPLOY, compose, environment, image_environment, instructions, queues, services

MIGRATED = {"condition": "service_completed_successfully"}
every_service = pytest.mark.parametrize("name", sorted(services()))


def test_the_schema_of_the_compose_specification_takes_it():
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_queue_has_a_worker_and_each_worker_a_queue():
    commands = {name: one["command"] for name, one in services().items()}
    taken = {name: command[command.index("-Q") + 1] for name, command in commands.items() if "-Q" in command}
    assert taken == {f"worker-{queue}": queue for queue in queues()}


@every_service
def test_nobody_begins_before_the_migration(name: str):
    waits = services()[name]["depends_on"]
    if name == "migrate":
        assert waits == {"postgres": {"condition": "service_healthy"}}
    else:
        assert waits["migrate"] == MIGRATED


@every_service
def test_everybody_is_held_tight(name: str):
    service = services()[name]
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert service["user"] == "10001:10001"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"].get("disable", False) is (name == "migrate")


def test_the_databases_speak_to_nobody_outside():
    assert compose()["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis"):
        assert compose()["services"][name]["networks"] == ["inside"]
        assert "ports" not in compose()["services"][name]


def test_the_receiver_alone_is_reached_and_only_from_this_machine():
    assert {name: one["ports"] for name, one in services().items() if "ports" in one} == {
        "receiver": ["127.0.0.1:8700:8700"]
    }


def test_everybody_has_longer_to_end_than_is_needed():
    """A worker waits for what is under way, then for its children to hear of it; all are gone within 15 s."""
    soft = re.search(r"^ENDS_WITHIN_S = ([\d.]+)", (DEPLOY.parent / "worker.py").read_text(), re.M)
    assert soft is not None
    assert float(soft.group(1)) <= 10
    for one in services().values():
        assert int(one["stop_grace_period"].removesuffix("s")) > 15


def test_whoever_listens_on_nothing_is_asked_whether_it_has_said_that_it_lives():
    file = image_environment(instructions()[-1])["DEALSYNC_ALIVE_FILE"]
    assert file.startswith("/tmp/"), "nothing else can be written"
    asked = {name for name, one in services().items() if "pipeline.alive" in one["healthcheck"].get("test", ())}
    assert asked == {name for name, one in services().items() if one["command"][0] == "celery"}


def test_the_receiver_is_asked_as_the_image_says():
    (check,) = [one.given for one in instructions()[-1] if one.word == "HEALTHCHECK"]
    assert services()["receiver"]["healthcheck"]["test"][3] in check


@pytest.mark.parametrize(
    "file", [DEPLOY / "dealsync.toml", DEPLOY / "kubernetes/base/dealsync.toml"], ids=["containers", "kubernetes"]
)
def test_the_configuration_is_right_and_names_the_secrets_of_the_environment(file: Path):
    settings = load(file, environment())
    (connection,) = settings.connections.values()
    assert isinstance(connection.token, Secret)
    named = {connection.token.env, *(one.env for one in connection.webhook.secrets)}
    secrets = {name for name, value in environment().items() if not value}
    assert named == secrets - {"PGPASSWORD"}
    assert settings.store.url.startswith("postgresql://dealsync@")


def test_the_environment_that_is_filled_in_is_kept_out_of_version_control():
    assert compose()["x-dealsync"]["env_file"] == ".env"
    assert ".env" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_no_file_holds_a_secret():
    """Whatever is named like one is a reference, or empty."""
    assigned = re.compile(r"^[^#\n]*?\b(\w*(?:token|secret|password|api_key)\w*)[ \t]*[:=][ \t]*(.+)$", re.I | re.M)
    harmless = re.compile(r"\{ (env|file) = |\[\{ env = |\$\{\w+:\?|\{ name: dealsync-secrets \}|false\b")
    for file in filter(Path.is_file, DEPLOY.rglob("*")):
        if file.suffix != ".md":
            found = [match.group(0) for match in assigned.finditer(file.read_text())]
            assert [one for one in found if not harmless.search(one)] == [], file
