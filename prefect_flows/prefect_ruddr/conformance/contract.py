"""What `openapi.yaml` allows in an answer, taken strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@cache
def answer_validator(schema: str) -> Validator:
    """Return what judges an answer's body, and takes no field that the contract does not name.

    Args:
        schema: The schema by its name under `components.schemas`.
    """
    components = {"schemas": _strict(_document()["components"]["schemas"])}
    rooted = {"$ref": f"#/components/schemas/{schema}", "components": components}
    validator: Validator = _kind()(rooted, format_checker=_formats())
    return validator


@cache
def _document() -> Mapping[str, Any]:
    packaged = files("prefect_ruddr") / "openapi.yaml"
    # An editable install has no copy inside the package: the repository's own is used.
    source = packaged if packaged.is_file() else Path(__file__).parents[3] / "openapi.yaml"
    document: Mapping[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    return document


def _strict(schemas: Mapping[str, Any]) -> dict[str, Any]:
    strict: dict[str, Any] = deepcopy(dict(schemas))
    for schema in strict.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    # What can be written has limits in the contract; what is answered should keep to them.
    limits = strict["OpportunityStageUpdate"]["properties"]
    stage = strict["OpportunityStage"]["properties"]
    for name in limits:
        stage[name] = {**limits[name], **stage[name]}
    return strict


def _multiple_of(_: Validator, divisor: float, value: Any, __: object) -> Any:
    # By the decimal text: in binary floats 0.0003 is no multiple of 0.0001.
    if isinstance(value, int | float) and not isinstance(value, bool):
        decimal = Decimal(repr(value))
        if not decimal.is_finite() or decimal % Decimal(repr(divisor)) != 0:
            yield ValidationError("")


@cache
def _kind() -> Any:
    return extend(Draft202012Validator, {"multipleOf": _multiple_of})  # type: ignore[no-untyped-call]


def _formats() -> FormatChecker:
    # The library's own checks are looser, or need packages that may not be there.
    checker = FormatChecker(formats=())
    checker.checks("uuid")(lambda value: not isinstance(value, str) or _is_uuid(value))
    checker.checks("date-time")(lambda value: not isinstance(value, str) or _is_timestamp(value))
    return checker


def _is_uuid(text: str) -> bool:
    return bool(_UUID.fullmatch(text))


def _is_timestamp(text: str) -> bool:
    try:
        return bool(_TIMESTAMP.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False
