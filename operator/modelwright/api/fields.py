"""How a field of the API is declared: every one says what it is, its default, its unit and an example.

`field` puts those into the pydantic schema; `schema.py` turns them into the CRD's description, so that
`kubectl explain` and the reference page say the same words.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

DURATION_PATTERN = r"^([0-9]+(ms|s|m|h))+$"
DIGEST_PATTERN = r"^sha256:[a-f0-9]{64}$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


def _plain(value: Any) -> Any:
    """A whole number as text: in YAML ``cpu: 1`` is as good as ``cpu: "1"``."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32)]
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN, max_length=71)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
Subdomain = Annotated[str, Field(pattern=SUBDOMAIN_PATTERN, max_length=253)]
# The validator comes last: pydantic leaves a pattern out of the schema when it follows one.
Quantity = Annotated[
    str,
    Field(
        pattern=QUANTITY_PATTERN, max_length=32, json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0}
    ),
    BeforeValidator(_plain),
]


class ApiModel(BaseModel):
    """Base of every part of the API: camelCase outside, frozen inside.

    Unknown fields are ignored on reading, for an older operator may meet a newer CRD. Refusing them is the API
    server's business (kubectl validates strictly), and `modelwright optimize` is strict for files.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", protected_namespaces=()
    )


def field(
    description: str,
    *,
    example: Any,
    default: Any = ...,
    unit: str | None = None,
    fallback: str | None = None,
    **constraints: Any,
) -> Any:
    """A field of the API.

    Args:
        description: One or two sentences.
        example: A value a user would write.
        default: Default in the CRD's schema; `...` makes the field required, None leaves it unset.
        unit: Unit of a number.
        fallback: Where an unset value comes from, in words (a policy, the optimizer's measurement).
        constraints: Passed on to pydantic (`ge`, `max_length`, …).
    """
    extra: dict[str, Any] = {"x-example": example}
    if unit:
        extra["x-unit"] = unit
    if fallback:
        extra["x-fallback"] = fallback
    # Only validated data comes from here, so a shared mutable default is never mutated: models are frozen.
    return Field(default, description=description, json_schema_extra=extra, **constraints)


def uri_rules(name: str) -> tuple[tuple[str, str], ...]:
    """CEL rules of a field that holds a URI."""
    return (
        (
            f"!self.{name}.startsWith('file:')",
            f"`{name}` must not use `file:`: a cluster has no local files; use `pvc:`",
        ),
        (f"!self.{name}.matches('/[.][.](/|$)')", f"`{name}` must not contain `..`"),
        (
            f"!self.{name}.startsWith('pvc:') || self.{name}.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/.')",
            f"`{name}` must be `pvc://claim/path` to name a file or folder of a PersistentVolumeClaim",
        ),
    )


def rules(*validations: tuple[str, str]) -> ConfigDict:
    """CEL rules of a model: pairs of (rule, message)."""
    cel = [{"rule": rule, "message": message} for rule, message in validations]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": cel})  # pyright: ignore[reportArgumentType]


def seconds(duration: str) -> float:
    """Seconds of a duration such as ``1h30m`` or ``500ms``."""
    factors = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, number, unit = 0.0, "", ""
    for char in f"{duration}0":
        if char.isdigit() and unit:
            total += int(number) * factors[unit]
            number, unit = char, ""
        elif char.isdigit():
            number += char
        else:
            unit += char
    return total
