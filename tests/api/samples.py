"""A model and a policy, and how to change one place in them."""

import copy
from typing import Any

Body = dict[str, Any]

MODEL: Body = {
    "apiVersion": "modelwright.dev/v1alpha1",
    "kind": "OptimizedModel",
    "metadata": {"name": "ranker", "namespace": "default"},
    "spec": {"model": {"uri": "s3://models/ranker/7/"}},
}
POLICY: Body = {
    "apiVersion": "modelwright.dev/v1alpha1",
    "kind": "ServingPolicy",
    "metadata": {"name": "default"},
    "spec": {
        "pools": [{"name": "cpu", "hardwareClass": "cpu", "image": "triton.example.com/triton:1"}],
        "optimization": {"artifactStore": {"uri": "oci://registry.example.com/modelwright"}},
    },
}


def changed(body: Body, path: str, value: Any) -> Body:
    """A copy of `body` with `value` at the dotted `path`."""
    whole = copy.deepcopy(body)
    inner = whole
    *parents, last = path.split(".")
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return whole
