"""The ConfigMap of a revision: its `config.pbtxt`, as immutable as the revision."""

from modelwright import naming
from modelwright.render import triton
from modelwright.render.meta import Body, metadata
from modelwright.render.revision import Owner, Revision

CONFIG_KEY = "config.pbtxt"


def render_configmap(owner: Owner, revision: Revision) -> Body:
    """The ConfigMap that the revision's init container lays beside the weights."""
    text = triton.render_config(revision.model_name, revision.recommendation, revision.serving)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, naming.revision_name(owner.name, revision.hash), revision=revision.hash),
        "immutable": True,
        "data": {CONFIG_KEY: text},
    }
