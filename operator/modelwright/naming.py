"""Every name, label, annotation and key of the project, each derived from one group name."""

from modelwright.api import kinds
from modelwright.contract import digest

GROUP = kinds.GROUP
VERSION = kinds.VERSION
API_VERSION = kinds.API_VERSION
MODEL_KIND = kinds.MODEL_KIND
MODEL_PLURAL = kinds.MODEL_PLURAL
POLICY_KIND = kinds.POLICY_KIND
POLICY_PLURAL = kinds.POLICY_PLURAL
MODEL_NAME_LIMIT = kinds.MODEL_NAME_LIMIT

FIELD_MANAGER = "modelwright"
COMPONENT = "modelwright-operator"

# Labels: what we select by. Never copied from the owner: Argo CD's tracking label must not reach a child.
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "modelwright"
LABEL_MODEL = f"{GROUP}/model"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_STAGE = f"{GROUP}/stage"
SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

# Annotations.
ANNOTATION_ACTION = f"{GROUP}/action"
ANNOTATION_APPLIED = f"{GROUP}/applied-hash"
ANNOTATION_REQUEST = f"{GROUP}/request"
ANNOTATION_ARTIFACT = f"{GROUP}/artifact"
ANNOTATION_SOURCE = f"{GROUP}/source"
ANNOTATION_MODEL = f"{GROUP}/model-name"

STAGE_RESOLVE = "resolve"
STAGE_OPTIMIZE = "optimize"
STAGE_SERVE = "serve"

PORT_HTTP = 8000
PORT_GRPC = 8001
PORT_METRICS = 8002

REVISION_HEADER = "modelwright-revision"


def job_name(model: str, stage: str, key: str, attempt: int) -> str:
    """Name of a Job: the same work of the same model always has the same name."""
    suffix = f"-{attempt}" if attempt else ""
    return f"{_fit(model, 63 - len(stage) - 14)}-{stage}-{digest.short(key)}{suffix}"


def revision_name(model: str, revision: str) -> str:
    """Name of a revision's Deployment, Service and ConfigMap."""
    return f"{_fit(model, MODEL_NAME_LIMIT)}-r{revision}"


def label_value(name: str) -> str:
    """`name` as a label value (at most 63 characters)."""
    return _fit(name, 63)


def _fit(name: str, limit: int) -> str:
    """`name` cut to `limit` characters, a hash keeping two long names apart; dots do not fit a DNS label."""
    label = name.replace(".", "-")
    if len(label) <= limit and label == name:
        return name
    mark = digest.short(digest.of_bytes(name.encode()), 6)
    return f"{label[: limit - 7].rstrip('-')}-{mark}"
