"""The common shape of every message: camelCase JSON, unknown fields refused."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Message(BaseModel):
    """A frozen message. Both sides are of one release, so an unknown field is a bug and is refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", protected_namespaces=()
    )

    def to_json(self) -> str:
        """The message as compact JSON with camelCase keys; fields at None are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
