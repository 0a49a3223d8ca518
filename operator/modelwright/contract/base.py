"""The common shape of every message: camelCase JSON, unknown fields passed over."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Message(BaseModel):
    """A frozen message.

    Who reads may be older than who wrote: a pod's image is pinned, an operator may be rolled back. So what a later
    release adds is passed over.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", protected_namespaces=()
    )

    def to_json(self) -> str:
        """The message as compact JSON with camelCase keys; fields at None are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
