"""`openapi.yaml` as the sandbox's validation: its paths, parameters and request bodies.

Nothing here repeats a limit of the contract; whatever is stated there is what is enforced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Never, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from prefect_ruddr.sandbox.answers import Refused

LARGEST_BODY = 128 * 1024
"""Bytes of a request body that are read; the longest valid one needs about half of them."""

_LONGEST_ERROR = 200
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the contract and how its input is judged."""

    id: str
    path_parameters: Mapping[str, Validator]
    query_parameters: Mapping[str, Validator]
    body: Validator | None

    def read_parameters(self, path: Mapping[str, str], query: str) -> dict[str, Any]:
        """Return the path and query parameters, converted to the contract's types.

        A query parameter that the contract does not name is refused: a misspelt
        `startingAfter` that is ignored would give the first page for ever.

        Raises:
            Refused: 400, with every error.
        """
        values: dict[str, Any] = {}
        errors = []
        for name, text in path.items():
            values[name] = unquote(text)
            errors += schema_errors(self.path_parameters[name], values[name], name)
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name not in self.query_parameters:
                errors.append(f"{name[:_LONGEST_ERROR]}: is no parameter of this call")
            elif name in values:
                errors.append(f"{name}: is given twice")
            else:
                validator = self.query_parameters[name]
                values[name] = _from_text(text, validator)
                errors += schema_errors(validator, values[name], name)
        if errors:
            raise Refused(400, "The parameters are not valid.", errors)
        return values

    def read_body(self, content_type: str, content: bytes) -> Any:
        """Return the parsed body; None where the contract knows of none.

        Raises:
            Refused: 400, with every error.
        """
        if self.body is None:
            return None
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refused(400, "The body must be sent as Content-Type: application/json.")
        if len(content) > LARGEST_BODY:
            raise Refused(400, f"The body is larger than {LARGEST_BODY} bytes.")
        try:
            body = json.loads(content.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise Refused(400, "The body is not JSON.") from None
        self.check_body(body)
        return body

    def check_body(self, body: object) -> None:
        """Judge a parsed body.

        Raises:
            Refused: 400, with every error.
        """
        if self.body is None:
            return
        if errors := schema_errors(self.body, body, "body"):
            raise Refused(400, "The body is not valid.", errors)


@dataclass(frozen=True, slots=True)
class Resource:
    """A path of the contract and its operations by method, in upper case."""

    pattern: re.Pattern[str]
    operations: Mapping[str, Operation]


class Contract:
    """The contract, compiled once.

    Args:
        document: The parsed `openapi.yaml`.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.base_path = urlsplit(document["servers"][0]["url"]).path
        self.resources = tuple(
            self._resource(path, item) for path, item in document["paths"].items()
        )
        self.stage = self._validator({"$ref": "#/components/schemas/OpportunityStage"})
        self.workspace = self._validator({"$ref": "#/components/schemas/Workspace"})

    def find(self, raw_path: str) -> tuple[Resource, dict[str, str]] | None:
        """Return what is at a path and the parameters in it, both still percent-encoded."""
        for resource in self.resources:
            if match := resource.pattern.fullmatch(raw_path):
                return resource, match.groupdict()
        return None

    def operation(self, operation_id: str) -> Operation:
        """Return the operation with this `operationId`."""
        return next(
            operation
            for resource in self.resources
            for operation in resource.operations.values()
            if operation.id == operation_id
        )

    def _resource(self, path: str, item: Mapping[str, Any]) -> Resource:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.base_path + path))
        shared = item.get("parameters", [])
        return Resource(
            pattern=re.compile(pattern),
            operations={
                method.upper(): self._operation(item[method], shared)
                for method in _METHODS
                if method in item
            },
        )

    def _operation(self, operation: Mapping[str, Any], shared: list[Any]) -> Operation:
        parameters = [*shared, *operation.get("parameters", [])]
        body = operation.get("requestBody")
        return Operation(
            id=operation["operationId"],
            path_parameters=self._parameters(parameters, "path"),
            query_parameters=self._parameters(parameters, "query"),
            body=body and self._validator(body["content"]["application/json"]["schema"]),
        )

    def _parameters(self, parameters: list[Any], place: str) -> dict[str, Validator]:
        return {
            parameter["name"]: self._validator(parameter["schema"])
            for parameter in parameters
            if parameter["in"] == place
        }

    def _validator(self, schema: Mapping[str, Any]) -> Validator:
        # The schemas of the contract point at each other from its root.
        rooted = {**schema, "components": self._document["components"]}
        return cast("Validator", _judge_decimals()(rooted, format_checker=_uuid_checker()))


@cache
def load_contract() -> Contract:
    """Return the contract that is part of this installation."""
    packaged = files("prefect_ruddr") / "openapi.yaml"
    # An editable install has no copy inside the package: the repository's own is used.
    source = packaged if packaged.is_file() else Path(__file__).parents[3] / "openapi.yaml"
    return Contract(yaml.safe_load(source.read_text(encoding="utf-8")))


def schema_errors(validator: Validator, value: Any, name: str) -> list[str]:
    """Return one text for each way in which `value`, to be called `name`, is not valid."""
    return sorted(_describe(error, name) for error in validator.iter_errors(value))


def _describe(error: ValidationError, name: str) -> str:
    place = ".".join([name, *(str(step) for step in error.absolute_path)])
    message = error.message
    if len(message) > _LONGEST_ERROR:
        # The value comes first and what is wrong with it last.
        message = f"{message[: _LONGEST_ERROR // 2]} ... {message[-_LONGEST_ERROR // 2 :]}"
    return f"{place}: {message}"


def _from_text(text: str, validator: Validator) -> Any:
    if cast("dict[str, Any]", validator.schema).get("type") == "integer" and _INTEGER.fullmatch(
        text
    ):
        return int(text)
    return text


def _refuse_constant(name: str) -> Never:
    # Python's reader knows NaN and Infinity; JSON does not.
    raise ValueError(name)


def _multiple_of(_: Validator, divisor: float, value: object, __: object) -> Any:
    # By the decimal text: in binary floats 0.0003 is no multiple of 0.0001.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    try:
        quotient = Fraction(Decimal(repr(value))) / Fraction(Decimal(repr(divisor)))
    except (ValueError, OverflowError):
        quotient = Fraction(1, 2)  # 1e999 is read as infinity, a multiple of nothing.
    if quotient.denominator != 1:
        yield ValidationError(f"{value!r} is not a multiple of {Decimal(repr(divisor))}")


@cache
def _judge_decimals() -> Any:
    return extend(Draft202012Validator, {"multipleOf": _multiple_of})  # type: ignore[no-untyped-call]


def _uuid_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    # The library's own check also takes braces that hang on to a well-formed UUID.
    checker.checks("uuid")(lambda v: not isinstance(v, str) or bool(_UUID.fullmatch(v)))
    return checker
