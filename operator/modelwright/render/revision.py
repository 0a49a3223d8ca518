"""What a revision's objects are rendered from, and the hash that names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from modelwright.api.model import Serving
from modelwright.api.policy import Pool, SecretRef
from modelwright.contract import digest
from modelwright.contract.artifact import Recommendation
from modelwright.contract.request import Store

HASH_LENGTH = 8


@dataclass(frozen=True)
class Owner:
    """The OptimizedModel that owns what is rendered."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Revision:
    """An artifact and how it is served.

    The hash covers what the user and the platform team asked for and nothing of the operator's own version, so that a
    new operator restarts no pod. Defaults are left out of it: a field that a later release adds changes no hash.

    Attributes:
        model_name: Triton's name of the model.
        artifact: Digest of the artifact.
        source: Digest of the source it was made from.
        recommendation: How the artifact should be served, as measured.
        serving: What the user asks for; wins over the recommendation.
        pool: Hardware and Triton image.
        store: Where the artifact is fetched from.
        store_secret: Secret with the store's login, if it needs one.
    """

    model_name: str
    artifact: str
    source: str
    recommendation: Recommendation
    serving: Serving
    pool: Pool
    store: Store
    store_secret: SecretRef | None = None

    def template(self) -> dict[str, Any]:
        """All of it as JSON, as status keeps it so that a lost child can be made again."""
        return {
            "modelName": self.model_name,
            "artifact": self.artifact,
            "source": self.source,
            "recommendation": _json(self.recommendation),
            "serving": _json(self.serving),
            "pool": _json(self.pool),
            "store": _json(self.store),
        } | ({"storeSecret": self.store_secret.name} if self.store_secret else {})

    @classmethod
    def from_template(cls, template: Mapping[str, Any]) -> "Revision":
        """The revision that `template` wrote down.

        Raises:
            KeyError, pydantic.ValidationError: The template was not written by `template`.
        """
        secret = template.get("storeSecret")
        return cls(
            model_name=template["modelName"],
            artifact=template["artifact"],
            source=template["source"],
            recommendation=Recommendation.model_validate(template["recommendation"]),
            serving=Serving.model_validate(template["serving"]),
            pool=Pool.model_validate(template["pool"]),
            store=Store.model_validate(template["store"]),
            store_secret=SecretRef(name=secret) if secret else None,
        )

    @property
    def hash(self) -> str:
        """The first hex digits of the hash of all that makes the pods what they are."""
        identity = {
            "model": self.model_name,
            "artifact": self.artifact,
            "serving": self.serving.model_dump(mode="json", exclude={"pool"}, exclude_defaults=True),
            "store": self.store.model_dump(mode="json"),
            "secret": self.store_secret.name if self.store_secret else None,
            "pool": self.pool.model_dump(
                mode="json", exclude={"price_per_hour", "hardware_class"}, exclude_defaults=True
            ),
        }
        return digest.short(digest.of_json(identity), HASH_LENGTH)


def _json(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
