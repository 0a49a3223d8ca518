"""The CustomResourceDefinitions, made from the pydantic models.

``python -m modelwright.api.schema DIRECTORY`` writes one YAML file a kind.
"""

import sys
from typing import Any

import yaml

from modelwright.api import kinds
from modelwright.api.conditions import ConditionType, Reason
from modelwright.api.model import ModelSpec
from modelwright.api.policy import PolicySpec
from modelwright.api.status import ModelStatus, PolicyStatus
from modelwright.api.structural import Schema, described, structural

HEADER = "# Made by `make crds` from operator/modelwright/api. Change it there.\n"

_NAME_RULES = [
    {
        "fieldPath": ".metadata.name",
        "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "message": "`metadata.name` must consist of lower case letters, digits and `-`, start with a letter "
        "and end with a letter or digit",
    },
    {
        "fieldPath": ".metadata.name",
        "rule": f"size(self.metadata.name) <= {kinds.MODEL_NAME_LIMIT}",
        "message": f"`metadata.name` must have at most {kinds.MODEL_NAME_LIMIT} characters, "
        "for the names of what is made from it are longer",
    },
]

_WAITING: Schema = {
    "observedGeneration": -1,
    "conditions": [
        {
            "type": ConditionType.READY.value,
            "status": "Unknown",
            "reason": Reason.PENDING.value,
            "message": "Waiting for controller",
            "observedGeneration": -1,
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
    ],
}
"""Status from creation on, so that an absent operator shows."""


def model_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of `OptimizedModel`."""
    status = {**structural(ModelStatus, defaults=False), "default": _WAITING}
    schema = _root("A trained model to be optimized, proved and served.", structural(ModelSpec), status)
    schema["x-kubernetes-validations"] = _NAME_RULES
    version: dict[str, Any] = {
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            _column("Ready", _condition("status"), "Whether this generation fully serves."),
            _column("Status", _condition("reason"), "Why."),
            _column("Replicas", ".status.readyReplicas", "Pods that answer.", kind="integer"),
            _column("Speedup", ".status.optimization.speedup", "Gain in CPU time per inference.", kind="number"),
            _column("Age", ".metadata.creationTimestamp", "Time since creation.", kind="date"),
            _column("Pool", ".status.resolved.pool", "Pool on which Triton runs.", wide=True),
            _column("Revision", ".status.stable.hash", "Revision that gets the traffic.", wide=True),
            _column(
                "Quality",
                ".status.optimization.quality.change",
                "Relative change of the metric.",
                kind="number",
                wide=True,
            ),
            _column("Message", _condition("message"), "What was observed, and what to do.", wide=True),
        ],
    }
    names = {"kind": kinds.MODEL_KIND, "plural": kinds.MODEL_PLURAL, "shortNames": ["om"]}
    return _crd("Namespaced", names, ["ai", "modelwright"], schema, version)


def policy_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of `ServingPolicy`."""
    status = structural(PolicyStatus, defaults=False)
    schema = _root("What a platform team decides for every model.", structural(PolicySpec), status)
    version: dict[str, Any] = {
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            _column("Priority", ".spec.priority", "The highest picks pools and defaults.", kind="integer"),
            _column("Pools", ".spec.pools[*].name", "Names of its pools."),
            _column("Age", ".metadata.creationTimestamp", "Time since creation.", kind="date"),
            _column("Domain", ".spec.domain", "Domain of host names.", wide=True),
            _column("Store", ".spec.optimization.artifactStore.uri", "Where artifacts live.", wide=True),
        ],
    }
    names = {"kind": kinds.POLICY_KIND, "plural": kinds.POLICY_PLURAL, "shortNames": ["sp"]}
    return _crd("Cluster", names, ["modelwright"], schema, version)


def as_yaml(crd: dict[str, Any]) -> str:
    """The file of one CustomResourceDefinition."""
    return HEADER + yaml.safe_dump(crd, sort_keys=False, width=110, allow_unicode=True)


def files() -> dict[str, str]:
    """Name and content of every file."""
    return {f"{crd['metadata']['name']}.yaml": as_yaml(crd) for crd in (model_crd(), policy_crd())}


def _root(description: str, spec: Schema, status: Schema) -> Schema:
    """Schema of a whole object."""
    common = "Standard Kubernetes field."
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": common},
            "kind": {"type": "string", "description": common},
            # Named only so that a rule can point at it.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": described(spec),
            "status": described(status, written=False),
        },
    }


def _crd(
    scope: str, names: dict[str, Any], categories: list[str], schema: Schema, version: dict[str, Any]
) -> dict[str, Any]:
    kind = names["kind"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{kinds.GROUP}"},
        "spec": {
            "group": kinds.GROUP,
            "scope": scope,
            "names": {**names, "singular": kind.lower(), "listKind": f"{kind}List", "categories": categories},
            "versions": [
                {
                    "name": kinds.VERSION,
                    "served": True,
                    "storage": True,
                    **version,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _column(
    name: str,
    path: str,
    description: str,
    *,
    kind: str = "string",
    wide: bool = False,
) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": 1} if wide else column


def _condition(part: str) -> str:
    return f'.status.conditions[?(@.type=="{ConditionType.READY}")].{part}'


def main(arguments: list[str]) -> None:
    """Write the files into the directory that `arguments` names."""
    (directory,) = arguments
    for name, content in files().items():
        with open(f"{directory}/{name}", "w", encoding="utf-8") as out:  # noqa: PTH123 - `api` imports no I/O
            out.write(content)


if __name__ == "__main__":
    main(sys.argv[1:])
