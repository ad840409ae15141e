"""The alerts: expressions that Prometheus can read, over metrics that exist, each with what to do about it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ConfigDict, Field

from edge.counting import Counting, Level
from ledger import counting as ledger_counting
from pipeline.levels import BUDGET_LEFT, INCIDENTS, LEVELS
from pipeline.totals import TOTALS, Total
from tests.architecture.test_docs import check_command
from tests.deploy.files import DEPLOY, ROOT


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Annotations(Strict):
    summary: str
    runbook: str


class Severity(Strict):
    severity: str


class Rule(Strict):
    """A recording rule, or an alert: as much of what `rule_files` may hold as we use."""

    expr: str
    record: str | None = None
    alert: str | None = None
    lasting: str | None = Field(default=None, alias="for", pattern=r"^\d+[mhd]$")
    labels: Severity | None = None
    annotations: Annotations | None = None


class Group(Strict):
    name: str
    rules: list[Rule]


class Rules(Strict):
    groups: list[Group]


RULES = [
    rule
    for group in Rules.model_validate(yaml.safe_load((DEPLOY / "alerts.yaml").read_text())).groups
    for rule in group.rules
]
ALERTS = [rule for rule in RULES if rule.alert]
RUNBOOK = (DEPLOY / "runbook.md").read_text()
SCALERS = [path for path in (DEPLOY / "kubernetes").rglob("*.yaml") if "ScaledObject" in path.read_text()]
every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule.alert)


def exposed() -> dict[str, set[str]]:
    """The metrics of `/metrics` with their labels, as a monitor reads them once everything has happened once."""
    counting = Counting(
        lambda: [Level(name, "planhat", 1) for name in (*LEVELS, BUDGET_LEFT, INCIDENTS)],
        lambda: [Total(name, labels, 1) for name, (_, labels) in TOTALS.items()],
    )
    counting.received("planhat", "accepted")
    counting.refused("planhat", "wrong")
    ledgers = ledger_counting.Counting()
    ledgers.answered("/v1/deals", 200)
    ledgers.watch(events=int, oldest_s=float, questions=int)
    families = text_string_to_metric_families(counting.text().decode() + ledgers.text().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def reasons() -> set[str]:
    """Every reason for which a request is refused, from the code that refuses it."""
    found = set()
    for name in ("edge/webhooks.py", "connectors/signatures.py", "connectors/hints.py"):
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("_Refusal", "Unproven"):
                found |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    return {one for one in found if isinstance(one, str)}


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    found = []

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), look)
    return found


def expressions() -> list[str]:
    """What Prometheus is asked: by the rules, and by whatever scales by them."""
    asked = [one["metadata"]["query"] for path in SCALERS for document in yaml.safe_load_all(path.read_text())
             if document["kind"] == "ScaledObject" for one in document["spec"]["triggers"]]  # fmt: skip
    assert asked
    return [rule.expr for rule in RULES] + asked


def test_every_metric_that_is_named_is_one_that_is_exposed_with_the_labels_it_has():
    known = {**exposed(), "up": {"job", "instance"}, **{rule.record: {"connection"} for rule in RULES if rule.record}}
    for expression in expressions():
        found = selectors(expression)
        assert found, expression
        for one in found:
            assert one.name in known, expression
            assert {matcher.name for matcher in one.matchers.matchers} <= known[one.name], expression


def test_every_level_is_watched_or_is_there_for_people_to_look_at():
    """A new one is to be thought about."""
    watched = {one.name for expression in expressions() for one in selectors(expression)}
    for_people = {"dealsync_waiting", "dealsync_unknown", "dealsync_hinted", "dealsync_unpublished"}
    for_people.add("dealsync_backfills_running")
    levels = {f"dealsync_{name}" for name in (*LEVELS, BUDGET_LEFT, INCIDENTS)}
    assert levels - watched == for_people


def test_every_reason_that_is_named_is_one_that_the_receiver_gives():
    named = {
        reason
        for expression in expressions()
        for one in selectors(expression)
        for matcher in one.matchers.matchers
        if matcher.name == "reason"
        for reason in matcher.value.split("|")
    }
    assert named
    assert named <= reasons()


def test_every_way_of_proving_nothing_is_watched():
    unproven = set(re.findall(r'Unproven\("(\w+)"\)', (ROOT / "connectors/signatures.py").read_text()))
    watched = next(rule.expr for rule in ALERTS if rule.alert == "DealsyncDeliveriesUnproven")
    assert unproven <= set(re.findall(r"\w+", watched))


@every_alert
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(alert: Rule):
    assert alert.labels is not None
    assert alert.labels.severity in ("critical", "warning")
    assert alert.annotations is not None
    assert alert.annotations.runbook == f"deploy/runbook.md#{str(alert.alert).lower()}"


def test_every_alert_is_in_the_runbook_and_the_runbook_knows_no_others():
    assert re.findall(r"^### (Dealsync\w+)$", RUNBOOK, re.MULTILINE) == [rule.alert for rule in ALERTS]


@every_alert
def test_the_runbook_says_what_it_means_what_is_harmed_where_to_look_what_to_do_and_when_it_is_over(alert: Rule):
    _, _, rest = RUNBOOK.partition(f"### {alert.alert}\n")
    entry = rest.partition("\n#")[0]
    parts = re.findall(r"^\*\*(\w+)\*\* \S", entry, re.MULTILINE)
    assert parts == ["Means", "Harm", "Look", "Do", "Over"]


def test_every_metric_of_the_runbook_and_of_the_operations_is_exposed():
    named = set(re.findall(r"`(dealsync_\w+)`", RUNBOOK + (ROOT / "docs/operations.md").read_text()))
    assert len(named) > 20
    assert named - exposed().keys() == set()


def test_every_metric_that_is_exposed_is_in_the_operations():
    told = (ROOT / "docs/operations.md").read_text()
    assert [name for name in exposed() if not name.endswith("_created") and f"`{name}`" not in told] == []


def test_every_command_of_the_runbook_exists():
    said = re.findall(r"`dealsync ([^`\n]+)`|^dealsync (.+)$", RUNBOOK, re.MULTILINE)
    assert len(said) > 10
    for inline, in_a_block in said:
        check_command((inline or in_a_block).split())


@pytest.mark.skipif(not shutil.which("promtool"), reason="this machine has no Prometheus to ask")
def test_prometheus_itself_fires_each_alert_when_it_should_and_not_before(tmp_path: Path):
    """Annotations are left out: promtool would compare their words too."""
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.pop("annotations", None)
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules))
    shutil.copy(Path(__file__).parent / "alerts_history.yaml", tmp_path)
    promtool = shutil.which("promtool")
    checked = subprocess.run([promtool, "check", "rules", DEPLOY / "alerts.yaml"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "alerts_history.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_history_in_which_it_fires_and_one_in_which_it_does_not():
    history = yaml.safe_load((Path(__file__).parent / "alerts_history.yaml").read_text())
    asked = [one for test in history["tests"] for one in test["alert_rule_test"]]
    names = {str(rule.alert) for rule in ALERTS}
    assert {one["alertname"] for one in asked if one["exp_alerts"]} == names
    assert {one["alertname"] for one in asked if not one["exp_alerts"]} == names


def test_an_expression_over_a_metric_that_nobody_exposes_is_found():
    assert [one.name for one in selectors("max(dealsync_wating) > 0")] == ["dealsync_wating"]
    assert "dealsync_wating" not in exposed()
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("max(dealsync_waiting > 0")
