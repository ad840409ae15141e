"""The systemd units: the same commands as everywhere, keys that systemd knows, and no more rights than needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import UNITS, commands, environment, queues, unit

KNOWN = {
    "Unit": "Description Wants Requires After PartOf StartLimitIntervalSec",
    "Service": "Type RemainAfterExit ExecStart Environment EnvironmentFile KillMode Restart "
    "RestartSec TimeoutStopSec WatchdogSec NotifyAccess MemoryMax TasksMax "
    "User Group UMask NoNewPrivileges ProtectSystem ProtectHome "
    "ProtectProc ProcSubset PrivateTmp PrivateDevices PrivateUsers ProtectHostname ProtectClock "
    "ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups RestrictAddressFamilies "
    "RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality RemoveIPC CapabilityBoundingSet "
    "AmbientCapabilities SystemCallArchitectures SystemCallFilter SystemCallErrorNumber",
    "Timer": "OnCalendar RandomizedDelaySec Persistent",
    "Install": "WantedBy",
}
"""The keys of systemd.unit(5), .service(5), .exec(5), .kill(5), .resource-control(5) and .timer(5) that we use: systemd
ignores what it does not know, and a hardening that is misspelt is none."""

SERVICES = [path for path in UNITS if path.suffix == ".service"]
every_unit = pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
every_service = pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd")


def values(path: Path, section: str, key: str) -> list[str]:
    return [value for name, value in unit(path).get(section, []) if name == key]


@every_unit
def test_every_key_is_one_of_systemd_s(path: Path):
    for section, keys in unit(path).items():
        assert {name for name, _ in keys} <= set(KNOWN[section].split()), section


@every_service
def test_the_command_is_one_that_compose_runs(path: Path):
    """But for the address, and the name by which the workers of one machine are told apart."""
    (command,) = values(path, "Service", "ExecStart")
    command = command.removeprefix("/opt/dealsync/bin/").removesuffix(" -n %i@%H")
    if path.name == "dealsync-doctor.service":
        assert command == "dealsync doctor"
        return
    for queue in queues():
        spelled = tuple(command.replace("%i", queue).split())
        assert spelled in {tuple(word for word in one if word not in ("--host", "0.0.0.0")) for one in commands()}


def test_the_target_wants_a_worker_for_each_queue():
    (target,) = [path for path in UNITS if path.suffix == ".target"]
    wanted = " ".join(values(target, "Unit", "Wants")).split()
    assert {one for one in wanted if "@" in one} == {f"dealsync-worker@{queue}.service" for queue in queues()}
    files = {path.name for path in UNITS}
    assert {re.sub(r"@\w+\.", "@.", one) for one in wanted} <= files


def test_whoever_listens_on_nothing_is_watched_by_systemd():
    watched = {path.name for path in SERVICES if values(path, "Service", "WatchdogSec")}
    assert watched == {"dealsync-worker@.service", "dealsync-beat.service"}
    for name in watched:
        (path,) = [one for one in SERVICES if one.name == name]
        assert int(values(path, "Service", "WatchdogSec")[0]) > 60, "a soft end and a lost broker take a while"
        assert values(path, "Service", "NotifyAccess") == ["main"]


@every_service
def test_nobody_begins_before_the_migration(path: Path):
    if path.name != "dealsync-migrate.service":
        assert values(path, "Unit", "Requires") == ["dealsync-migrate.service"]
        assert "dealsync-migrate.service" in values(path, "Unit", "After")[0].split()


@every_service
def test_everybody_is_held_tight_and_told_the_environment(path: Path):
    receiver = next(one for one in SERVICES if one.name == "dealsync-receiver.service")
    tight = unit(receiver)["Service"]
    tight = tight[tight.index(("EnvironmentFile", "/etc/dealsync/env")) :]
    assert unit(path)["Service"][-len(tight) :] == tight
    assert environment()["DEALSYNC_CONFIG"] == "/etc/dealsync/dealsync.toml"


@needs_systemd
@every_service
def test_systemd_itself_finds_little_exposed(path: Path):
    """Its score goes from 0 to 10; 3.0 is where it stops saying OK for a service that listens."""
    analyze = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", path]
    done = subprocess.run(analyze, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is too old to say")
    assert done.returncode == 0, done.stdout


@needs_systemd
@every_unit
def test_systemd_itself_understands_it(path: Path, tmp_path: Path):
    """In a folder where every command exists: what is verified is the unit, not the machine."""
    for one in UNITS:
        text = one.read_text().replace("/opt/dealsync/bin/", f"{shutil.which('env')} ")
        (tmp_path / one.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / path.name], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or path.name in line] == []
