"""As much of kustomize as `deploy/kubernetes` uses, for machines that have none: no registry carries its binary."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

KNOWN = {
    "apiVersion", "kind", "resources", "namespace", "nameSuffix", "labels", "patches", "images", "configMapGenerator",
}  # fmt: skip
"""Another key would be done by kustomize and not by us, so it is refused."""


def built(folder: Path) -> list[Resource]:
    """What `kubectl kustomize FOLDER` would print, without the hashes at the names of configuration maps."""
    given = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert given.keys() <= KNOWN, f"{folder}: {given.keys() - KNOWN}"
    resources = [one for name in given["resources"] for one in _read(folder / name)]
    for one in given.get("configMapGenerator", ()):
        data = {Path(name).name: (folder / name).read_text() for name in one["files"]}
        resources.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": one["name"]}, "data": data})
    for resource in resources:
        metadata = resource["metadata"]
        metadata["name"] += given.get("nameSuffix", "")
        if "namespace" in given:
            metadata["namespace"] = given["namespace"]
        for one in given.get("labels", ()):
            _label(resource, one)
        for patch in given.get("patches", ()):
            _patch(resource, patch)
        for container in containers(resource):
            _pin(container, given.get("images", ()))
    return resources


def pod(resource: Resource) -> Resource:
    """The template of the pods that a resource makes; empty for one that makes none."""
    spec = resource.get("spec", {})
    if resource["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Resource = spec.get("template", {}) if resource["kind"] in ("Deployment", "Job", "CronJob") else {}
    return found


def containers(resource: Resource) -> Iterator[Resource]:
    """Every container of a resource's pods, those that only begin included."""
    spec = pod(resource).get("spec", {})
    yield from spec.get("initContainers", ())
    yield from spec.get("containers", ())


def _read(path: Path) -> list[Resource]:
    return built(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))


def _label(resource: Resource, given: Resource) -> None:
    resource["metadata"].setdefault("labels", {}).update(given["pairs"])
    if resource["kind"] == "CronJob":
        made = resource["spec"]["jobTemplate"].setdefault("metadata", {})
        made.setdefault("labels", {}).update(given["pairs"])
    if (template := pod(resource)) and (given.get("includeTemplates") or given.get("includeSelectors")):
        template.setdefault("metadata", {}).setdefault("labels", {}).update(given["pairs"])
        if given.get("includeSelectors"):
            assert resource["kind"] == "Deployment", "selectors of other kinds are not needed here"
            resource["spec"]["selector"]["matchLabels"].update(given["pairs"])


def _patch(resource: Resource, patch: Resource) -> None:
    if resource["kind"] != patch["target"]["kind"]:
        return
    for change in yaml.safe_load(patch["patch"]):
        assert change["op"] in ("add", "replace"), change
        here: Any = resource
        *way, last = change["path"].strip("/").split("/")
        for step in way:
            here = here[int(step) if isinstance(here, list) else step]
        assert isinstance(here, dict), "places in lists are not needed here"
        here[last] = deepcopy(change["value"])


def _pin(container: Resource, images: Any) -> None:
    for image in images:
        if container["image"].partition(":")[0] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"
