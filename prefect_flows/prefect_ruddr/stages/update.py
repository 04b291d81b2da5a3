"""An update somebody wants of a stage, and its limits. Pure: no I/O, no Prefect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Annotated, Any, Self, TypeAlias
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictStr,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.field_errors import field_errors
from prefect_ruddr.stages.stage import (
    CAMEL_CASE,
    FIELD_NAMES,
    READ_ONLY_NAMES,
    SNAKE_CASE,
    FieldName,
    FieldValue,
    Stage,
    StageStatus,
    plain_value,
)

MAX_NAME_LENGTH = 255
MAX_DESCRIPTION_LENGTH = 5000
PROBABILITY_DECIMALS = 4


def _clearable(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError(
            "not_clearable",
            "only description can be cleared; leave the field out to keep its value",
        )
    return value


def _number(value: Any) -> Any:
    """Judge the decimals on the decimal text: 0.0003 is four of them in any base."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise PydanticCustomError("number_type", "Input should be a number from 0 to 1")
    try:
        # The text of a number of another library, such as a 32-bit 0.1, is as short as it gets.
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except (ArithmeticError, ValueError):
        number = Decimal(_nearest_float(value))
    if _has_too_many_decimals(number):
        raise PydanticCustomError(
            "decimal_places", "Input should have at most 4 decimal places (round it)"
        )
    return math.nan if number.is_nan() else float(number)


def _nearest_float(value: Any) -> str:
    try:
        return repr(float(value))
    except OverflowError:
        return "inf"


def _has_too_many_decimals(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or exponent >= -PROBABILITY_DECIMALS:
        return False
    # Zeros at the end do not count: Decimal("0.500000") has one place.
    return any(digits[exponent + PROBABILITY_DECIMALS :])


def _not_blank(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise PydanticCustomError("blank", "Input should not be blank")
    return value


def _blank_is_null(value: str | None) -> str | None:
    return value if value and value.strip() else None


class StageFields(BaseModel):
    """The fields to set of a stage, whichever stage it is: a `StageUpdate` without its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        StrictStr | None,
        Field(max_length=MAX_NAME_LENGTH, min_length=1, description="The new name, not blank."),
        AfterValidator(_not_blank),
        BeforeValidator(_clearable),
    ] = None
    description: Annotated[
        StrictStr | None,
        Field(max_length=MAX_DESCRIPTION_LENGTH, description="The new description; null clears."),
        AfterValidator(_blank_is_null),
    ] = None
    probability: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="The win probability, 0 to 1, with at most four decimal places.",
        ),
        BeforeValidator(_number),
        BeforeValidator(_clearable),
    ] = None
    status_id: Annotated[
        StageStatus | None,
        Field(description="Whether opportunities at the stage are open, won or lost."),
        BeforeValidator(_clearable),
    ] = None
    is_active: Annotated[
        StrictBool | None,
        Field(description="Whether the stage can be chosen."),
        BeforeValidator(_clearable),
    ] = None
    opportunity_pipeline_id: Annotated[
        UUID | None,
        Field(description="The id of the pipeline to move the stage to."),
        BeforeValidator(_clearable),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _accept_either_spelling(cls, data: Any) -> Any:
        if isinstance(data, Stage):
            data = dict(data)
        if not isinstance(data, Mapping):
            return data
        twice = [
            f"{camel} and {snake}"
            for camel, snake in SNAKE_CASE.items()
            if camel in data and snake in data
        ]
        if twice:
            raise PydanticCustomError(
                "named_twice", "{fields} are the same field: give one", {"fields": ", ".join(twice)}
            )
        said = {SNAKE_CASE.get(key, key): value for key, value in data.items()}
        if was_read(said) and said.get("opportunity_pipeline_id", "known") is None:
            # Ruddr's answer had left it out.
            del said["opportunity_pipeline_id"]
        return {key: value for key, value in said.items() if key not in READ_ONLY_NAMES}

    @model_validator(mode="after")
    def _set_something(self) -> Self:
        if self.model_fields_set.isdisjoint(FIELD_NAMES):
            raise PydanticCustomError(
                "nothing_to_set", "no field to set: give at least one of " + ", ".join(FIELD_NAMES)
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_absent_fields_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {
            name: dumped[name]
            for name in ("id", *FIELD_NAMES)
            if name in dumped and name in self.model_fields_set
        }

    @property
    def fields(self) -> dict[FieldName, FieldValue]:
        """The fields to set, in the order of the class, in plain JSON types."""
        return {
            name: plain_value(name, getattr(self, name))
            for name in FIELD_NAMES
            if name in self.model_fields_set
        }

    def of(self, stage_id: UUID) -> StageUpdate:
        """Return these fields as the update of a stage; they were validated already."""
        names = {"id", *self.model_fields_set}
        return StageUpdate.model_construct(names, **(vars(self) | {"id": stage_id}))


class StageUpdate(StageFields):
    """What somebody wants of one stage: its id, and the fields to set.

    A field that is absent is left alone. `None` clears, and only `description` takes it;
    a description of white space alone is the same as `None`. Field names may be written
    as here or as Ruddr spells them (`statusId`); unknown ones are refused. The limits are
    those of Ruddr's API as `openapi.yaml` states them.

    Dumping, pickling and copying keep absent fields absent.

    Attributes:
        id: The id of the stage.
        name: 1 to 255 characters, not blank.
        description: At most 5000 characters; None clears it.
        probability: From 0 to 1, at most 4 decimal places, judged as written: 0.0003 is
            fine, `0.1 + 0.2` (0.30000000000000004) is not.
        status_id: "open", "won" or "lost".
        is_active: Whether the stage can be chosen.
        opportunity_pipeline_id: The id of the pipeline to move the stage to.

    Raises:
        pydantic.ValidationError: With every error at once.

    Examples:
        >>> update = StageUpdate(
        ...     id="a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19", probability=0.625, description=None
        ... )
        >>> update.fields
        {'description': None, 'probability': 0.625}
        >>> update.body()
        {'description': None, 'probability': 0.625}
    """

    id: Annotated[UUID, Field(description="The id of the stage to change.")]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """State the limits as a form needs them: no defaults, null for description alone."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        properties = schema["properties"]
        schema["properties"] = {name: properties[name] for name in ("id", *FIELD_NAMES)}
        for name, field in schema["properties"].items():
            field.pop("default", None)
            branches = field.pop("anyOf", None)
            if branches is not None and name == "description":
                field["anyOf"] = branches
            elif branches is not None:
                field.update(next(branch for branch in branches if branch != {"type": "null"}))
        # Prefect's form shows a boolean as a switch, and sends false for one that nobody touched.
        del schema["properties"]["is_active"]["type"]
        schema["properties"]["is_active"]["enum"] = [True, False]
        schema["description"] = "The stage, and the fields to set; the others are left alone."
        schema["minProperties"] = 2
        # Ruddr's own spelling passes Prefect's check too, where the form shows only ours.
        # Types stand here again because Prefect takes null for every optional property.
        fields = schema["properties"]
        schema["patternProperties"] = {
            f"^{name}$": {"type": field["type"]}
            for name, field in fields.items()
            if "type" in field
        } | {f"^{camel}$": fields[snake] for camel, snake in SNAKE_CASE.items() if snake in fields}
        # A stage as it was read is an update, with what nobody can set.
        schema["patternProperties"] |= {
            f"^{name}$": {} for read in READ_ONLY_NAMES for name in (read, CAMEL_CASE[read])
        }
        # Ruddr may leave the pipeline out of an answer, and then the stage has none.
        pipeline = fields["opportunity_pipeline_id"] | {"type": ["string", "null"]}
        schema["patternProperties"] |= {
            "^opportunity_pipeline_id$": {"type": pipeline["type"]},
            f"^{CAMEL_CASE['opportunity_pipeline_id']}$": pipeline,
        }
        return schema

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show the fields that are set; an absent one is not None."""
        return [("id", str(self.id)), *self.fields.items()]

    def body(self) -> dict[str, FieldValue]:
        """Return the JSON body of the PATCH: Ruddr's field names, and no id."""
        return {CAMEL_CASE[name]: value for name, value in self.fields.items()}


StageUpdateLike: TypeAlias = StageUpdate | Stage | Mapping[str, Any]
"""An update, a stage as it was read and edited, or a mapping with the names of either."""


def parse_stage_update(update: StageUpdateLike) -> StageUpdate:
    """Return the update, made from a mapping or a stage where one is given.

    Raises:
        InvalidStageUpdates: With every error at once, each naming field, value and limit.

    Examples:
        >>> parse_stage_update(
        ...     {"id": "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19", "probability": 1.5}
        ... )
        Traceback (most recent call last):
        prefect_ruddr.errors.InvalidStageUpdates: Invalid stage update: probability = 1.5: ...
    """
    try:
        return StageUpdate.model_validate(update)
    except ValidationError as error:
        raise InvalidStageUpdates([found.text for found in field_errors(error)]) from None


def was_read(said: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping is a stage as it was read: it has what nobody can set."""
    return any(name in said or CAMEL_CASE[name] in said for name in READ_ONLY_NAMES)
