"""Metadata of everything we make: whose it is, what it is for, and nothing copied from the owner."""

import re
from collections.abc import Mapping
from typing import Any

from modelwright import naming
from modelwright.render.revision import Owner

Body = dict[str, Any]

APP = "modelwright-model"
"""`app.kubernetes.io/name` of every child: a word that no selector of a user's own chart hits by accident."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def labels(owner: Owner, stage: str, revision: str = "") -> dict[str, str]:
    """Labels of a child: what our caches and selectors look for."""
    found = {
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_NAME: APP,
        naming.LABEL_COMPONENT: stage,
        naming.LABEL_MODEL: naming.label_value(owner.name),
        naming.LABEL_STAGE: stage,
    }
    if revision:
        found[naming.LABEL_REVISION] = revision
    for key, value in found.items():
        if not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"{key}: {value!r} is no label value")
    return found


def selector(owner: Owner, revision: str) -> dict[str, str]:
    """Labels that select the pods of one revision. Part of immutable fields: never extended."""
    return {
        naming.LABEL_MODEL: naming.label_value(owner.name),
        naming.LABEL_REVISION: revision,
        naming.LABEL_STAGE: naming.STAGE_SERVE,
    }


def metadata(
    owner: Owner,
    name: str,
    *,
    stage: str = naming.STAGE_SERVE,
    revision: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Body:
    """Metadata of a child, in the owner's namespace and controlled by it.

    `blockOwnerDeletion` is off: it needs a right on the owner's finalizers, and nothing waits for children.
    """
    if not _DNS_LABEL.fullmatch(name):
        raise ValueError(f"{name!r} is no DNS label of at most 63 characters")
    body: Body = {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels(owner, stage, revision),
        "ownerReferences": [
            {
                "apiVersion": naming.API_VERSION,
                "kind": naming.MODEL_KIND,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    if annotations:
        body["annotations"] = dict(annotations)
    return body
