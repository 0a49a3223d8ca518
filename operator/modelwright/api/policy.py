"""The spec of a `ServingPolicy`: what a platform team decides for everybody."""

from typing import Annotated, Literal

from pydantic import Field

from modelwright.api import fields
from modelwright.api.fields import ApiModel, Name, Subdomain, field
from modelwright.api.model import Gateway, Resources, SecretRef

Scheme = Literal["s3", "gs", "az", "https", "http", "oci", "pvc"]
LabelValue = Annotated[str, Field(max_length=253)]


class Toleration(ApiModel):
    """A taint that the pool's pods accept, as in a pod."""

    key: Annotated[str, Field(max_length=317)] | None = field(
        "Key of the taint.", default=None, fallback="every key", example="nvidia.com/gpu"
    )
    operator: Literal["Exists", "Equal"] = field("How the value is compared.", default="Equal", example="Exists")
    value: LabelValue | None = field("Value of the taint.", default=None, example="present")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = field(
        "Effect of the taint.", default=None, fallback="every effect", example="NoSchedule"
    )


class Pool(ApiModel):
    """Named hardware."""

    name: Name = field("Name that models use.", example="cpu")
    hardware_class: Name = field(
        "Hardware on which a measurement is worth repeating: part of the artifact's key.",
        example="cpu-avx512",
    )
    image: Annotated[str, Field(min_length=1, max_length=512)] = field(
        "Triton image, best pinned by digest.", example="nvcr.io/nvidia/tritonserver:26.09-py3"
    )
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=16)] = field(
        "Labels of the pool's nodes.", default={}, example={"modelwright.dev/pool": "gpu"}
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = field(
        "Taints of the pool's nodes.", default=(), example=[{"key": "nvidia.com/gpu", "operator": "Exists"}]
    )
    resources: Resources = field(
        "Requests and limits of Triton and of the Job, unless the model sets its own.",
        default=Resources(),
        example={"limits": {"nvidia.com/gpu": "1"}},
    )
    runtime_class_name: Subdomain | None = field("RuntimeClass of the pods.", default=None, example="nvidia")
    price_per_hour: Annotated[float, Field(ge=0)] | None = field(
        "Price of one replica, for the cost in status.", default=None, unit="currency per hour", example=0.12
    )


class ArtifactStore(ApiModel):
    """Where artifacts live."""

    uri: Annotated[str, Field(pattern=r"^oci://[^\s@?#]+$", max_length=512)] = field(
        "OCI registry and repository prefix; each namespace gets a repository of its own below it.",
        example="oci://registry.example.com/modelwright",
    )
    insecure: bool = field("Plain HTTP instead of TLS.", default=False, example=False)
    secret_ref: SecretRef | None = field(
        "Secret with `.dockerconfigjson`, in each model's namespace.",
        default=None,
        example={"name": "store-login"},
    )


class PolicyOptimization(ApiModel):
    """Rules of optimization."""

    artifact_store: ArtifactStore = field(
        "Where artifacts live.", example={"uri": "oci://registry.example.com/modelwright"}
    )


class Sources(ApiModel):
    """Where models may come from."""

    schemes: Annotated[tuple[Scheme, ...], Field(max_length=8)] = field(
        "Allowed URI schemes.", default=("https", "s3", "gs", "az", "oci", "pvc"), example=["s3", "oci"]
    )
    insecure_registries: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=8)] = field(
        "Registries (`host:port`) that are spoken to in plain HTTP.",
        default=(),
        example=["registry.local:5000"],
    )


class RolloutDefaults(ApiModel):
    """What a model that says nothing gets."""

    gateway: Gateway | None = field(
        "Gateway that routes to models.",
        default=None,
        fallback="models are reached inside the cluster only",
        example={"parentRefs": [{"name": "modelwright", "namespace": "modelwright-gateway"}]},
    )


class PolicyRollout(ApiModel):
    """Rules of rollouts."""

    defaults: RolloutDefaults = field("What a model that says nothing gets.", default=RolloutDefaults(), example={})


class PolicySpec(ApiModel):
    """What a platform team decides."""

    priority: int = field(
        "The policy with the highest priority picks pools and defaults.",
        default=0,
        example=10,
        ge=-1000,
        le=1000,
    )
    pools: Annotated[tuple[Pool, ...], Field(min_length=1, max_length=32)] = field(
        "Named hardware; the first is the default.",
        example=[{"name": "cpu", "hardwareClass": "cpu", "image": "nvcr.io/nvidia/tritonserver:26.09-py3"}],
    )
    domain: Subdomain = field(
        "Domain below which models get host names.", default="models.local", example="models.example.com"
    )
    sources: Sources = field("Where models may come from.", default=Sources(), example={"schemes": ["s3"]})
    optimization: PolicyOptimization = field(
        "Rules of optimization.", example={"artifactStore": {"uri": "oci://registry.example.com/modelwright"}}
    )
    rollout: PolicyRollout = field("Rules of rollouts.", default=PolicyRollout(), example={})

    model_config = fields.rules(
        (
            "!has(self.domain) || size(self.domain) <= 133",
            "`domain` must have at most 133 characters, for model and namespace come before it",
        ),
    )
