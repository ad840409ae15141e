"""The resources of each overlay: as their schemas want them, held tight, and in step with compose."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.files import DEPLOY, commands, environment, queues, services
from tests.deploy.kustomizing import Resource, built, containers, pod

KUBERNETES = DEPLOY / "kubernetes"
OLDEST, NEWEST = "1.32", "1.36"
"""The versions whose schemas must take every resource."""

OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def resources(overlay: str) -> list[Resource]:
    return built(KUBERNETES / "overlays" / overlay)


def of_kind(overlay: str, kind: str) -> dict[str, Resource]:
    return {one["metadata"]["name"]: one for one in resources(overlay) if one["kind"] == kind}


def labels(resource: Resource) -> dict[str, str]:
    found: dict[str, str] = pod(resource)["metadata"]["labels"]
    return found


def command(resource: Resource) -> tuple[str, ...]:
    """What the resource's container runs, with the variables that Kubernetes puts into it."""
    (container,) = pod(resource)["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container.get("env", ())}
    return tuple(re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], word) for word in container["command"])


@every_overlay
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_schemas_of_kubernetes_take_every_resource(overlay: str, version: str):
    for one in resources(overlay):
        if one["kind"] != "ScaledObject":
            kubernetes_validate.validate(one, version, strict=True)


@every_overlay
def test_the_models_of_keda_take_what_scales_by_age(overlay: str):
    from cloudcoil.models.keda.v1alpha1 import ScaledObject  # takes seconds, which only who runs this should wait for

    for one in of_kind(overlay, "ScaledObject").values():
        kept = ScaledObject.model_validate(one).model_dump(by_alias=True, exclude_unset=True, mode="json")
        assert kept == one, "what the model does not know, it leaves out"


@every_overlay
def test_each_queue_has_a_worker_and_everything_runs_what_compose_runs(overlay: str):
    made = {name: command(one) for name, one in of_kind(overlay, "Deployment").items()}
    assert {name for name in made if name.startswith("worker")} == {f"worker-{queue}" for queue in queues()}
    made["migrate"] = command(of_kind(overlay, "Job")["migrate"])
    assert made == {name: tuple(one["command"]) for name, one in services().items()}
    assert ("dealsync", "doctor") not in commands(), "compose has no timer"
    assert command(of_kind(overlay, "CronJob")["doctor"]) == ("dealsync", "doctor")


@every_overlay
def test_each_selector_finds_its_pods_and_no_others(overlay: str):
    deployments = of_kind(overlay, "Deployment")
    for name, one in deployments.items():
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert [other for other, pods in deployments.items() if wanted <= labels(pods).items()] == [name]
    (service,) = of_kind(overlay, "Service").values()
    assert service["spec"]["selector"].items() <= labels(deployments["receiver"]).items()
    for budget in of_kind(overlay, "PodDisruptionBudget").values():
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        assert any(wanted <= labels(one).items() for one in deployments.values())


@every_overlay
def test_every_container_is_held_tight_and_every_pod_knows_its_configuration(overlay: str):
    """All that a namespace with the "restricted" standard asks of its pods, as the runbook makes one, and more."""
    for one in resources(overlay):
        for container in containers(one):
            rights = container["securityContext"]
            assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["envFrom"] == [{"secretRef": {"name": "dealsync-secrets"}}]
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts == {"tmp": "/tmp", "config": str(Path(environment()["DEALSYNC_CONFIG"]).parent)}
        if spec := pod(one).get("spec"):
            assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"]) == (True, 10001)
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert spec["automountServiceAccountToken"] is False
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            assert {name: [*one.keys() - {"name"}] for name, one in volumes.items()} == {
                "tmp": ["emptyDir"],
                "config": ["configMap"],
            }
            assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
            assert volumes["config"]["configMap"]["name"] in of_kind(overlay, "ConfigMap")


@every_overlay
def test_nobody_begins_before_the_migration(overlay: str):
    for one in of_kind(overlay, "Deployment").values():
        (first,) = pod(one)["spec"]["initContainers"]
        (container,) = pod(one)["spec"]["containers"]
        assert first["command"] == ["dealsync", "status", "--quiet"]
        assert first["image"] == container["image"]


@every_overlay
def test_the_receiver_is_asked_whether_it_lives_and_whether_it_can_keep_anything(overlay: str):
    (container,) = pod(of_kind(overlay, "Deployment")["receiver"])["spec"]["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


@every_overlay
def test_whoever_listens_on_nothing_is_asked_as_in_compose_whether_it_has_said_that_it_lives(overlay: str):
    wanted = services()["beat"]["healthcheck"]["test"][1:]
    for name, one in of_kind(overlay, "Deployment").items():
        (container,) = pod(one)["spec"]["containers"]
        if name != "receiver":
            probes = [container[probe]["exec"]["command"] for probe in ("startupProbe", "livenessProbe")]
            assert probes == [wanted, wanted]
        assert pod(one)["spec"].get("terminationGracePeriodSeconds", 30) > 15


@every_overlay
def test_everything_is_walled_in_and_only_readers_reach_the_outside(overlay: str):
    policies = {name: one["spec"] for name, one in of_kind(overlay, "NetworkPolicy").items()}
    everybody = {"matchLabels": {"app.kubernetes.io/name": "dealsync"}}
    assert policies["nothing"] == {"podSelector": everybody, "policyTypes": ["Ingress", "Egress"]}
    outside = [name for name, one in policies.items() if "ipBlock" in json.dumps(one)]
    assert outside == ["apis"]
    (only,) = policies["apis"]["podSelector"]["matchExpressions"]
    assert only["values"] == ["worker", "doctor"]


@every_overlay
def test_no_secret_is_deployed_from_here(overlay: str):
    assert of_kind(overlay, "Secret") == {}


@every_overlay
def test_what_scales_has_no_number_of_its_own(overlay: str):
    """Else each `apply` would undo what the load has asked for."""
    scaled = [one["spec"]["scaleTargetRef"]["name"] for kind in ("HorizontalPodAutoscaler", "ScaledObject")
              for one in of_kind(overlay, kind).values()]  # fmt: skip
    deployments = of_kind(overlay, "Deployment")
    assert {name for name in scaled if "replicas" in deployments[name]["spec"]} == set()
    assert len(scaled) == (3 if overlay == "production" else 0)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="this machine has no kubectl to compare with")
@every_overlay
def test_kustomize_itself_makes_the_same(overlay: str):
    made = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / "overlays" / overlay], capture_output=True, text=True, check=True
    ).stdout
    unhashed = re.sub(r"\bdealsync-[a-z0-9]{10}$", "dealsync", made, flags=re.MULTILINE)
    assert by_name(yaml.safe_load_all(unhashed)) == by_name(resources(overlay))


def by_name(found: Any) -> dict[tuple[str, str], Resource]:
    return {(one["kind"], one["metadata"]["name"]): one for one in found}
