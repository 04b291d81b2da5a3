"""In what an answer differs from the contract, said without any name or text of a workspace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Never
from uuid import UUID

from jsonschema import ValidationError

from prefect_ruddr.api.raw import RawAnswer
from prefect_ruddr.conformance.contract import answer_validator
from prefect_ruddr.stages.stage import parse_uuid
from prefect_ruddr.texts import LONGEST_VALUE, one_line

_ABOUT_LIMITS = re.compile(r"(x-)?rate-?limit.*|retry-after")
_CODE = re.compile(r"[a-z_-]{1,20}", re.ASCII)

_TYPES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}


@dataclass(frozen=True)
class Difference:
    """One way in which an answer is not what the contract says.

    Attributes:
        place: Where in the answer, such as `results[].probability`.
        what: What is there, in words that hold no name or text of the workspace.
        stage_id: The stage that it is about, or None.
    """

    place: str
    what: str
    stage_id: UUID | None = None


def read_body(answer: RawAnswer) -> tuple[Any, list[Difference]]:
    """Return the parsed body, None where it is no JSON, and what differs before it is judged."""
    found = list(_of_headers(answer.headers))
    try:
        return json.loads(answer.content.decode(), parse_constant=_refuse), found
    except (ValueError, RecursionError):
        return None, [*found, Difference("the body", "is not JSON")]


def compare(body: Any, schema: str, about: UUID | None = None) -> list[Difference]:
    """Compare a body with the contract.

    Args:
        body: The parsed body.
        schema: The schema by its name, such as `OpportunityStage`.
        about: The stage that was asked for, or None.
    """
    found: dict[Difference, None] = {}
    for error in answer_validator(schema).iter_errors(body):
        path = list(error.absolute_path)
        stage_id = about or _stage_at(body, path)
        for name, what in _described(error):
            found[Difference(_place([*path, *name]), what, stage_id)] = None
    return list(found)


def compare_order(stages: Sequence[Any]) -> Iterator[Difference]:
    """Find what is wrong with a whole list: its order, and stages that come twice."""
    seen = set()
    for stage in stages:
        stage_id = id_of(stage)
        if stage_id is not None and stage_id in seen:
            yield Difference("results[].id", "comes twice in the list", stage_id)
        seen.add(stage_id)
    dated = [s for s in stages if isinstance(s, dict) and isinstance(s.get("createdAt"), str)]
    for newer, older in pairwise(dated):
        if newer["createdAt"] < older["createdAt"]:
            what = "is newer than that of the stage before it in the list"
            yield Difference("results[].createdAt", what, id_of(older))


def compare_stages(before: Any, after: Any, when: str) -> Iterator[Difference]:
    """Find what two answers say otherwise of one stage.

    Args:
        before: The stage in the one.
        after: The stage in the other.
        when: Since when that is wrong, such as "in the list".
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys(), key=str):
            # An answer may leave the pipeline out.
            both = name in before and name in after
            if before.get(name) != after.get(name) and (both or name != "opportunityPipelineId"):
                what = f"is not what it was {when}"
                yield Difference(_place([name]), what, id_of(after))


def id_of(stage: Any) -> UUID | None:
    """Return the id of a stage in a body, or None where it has none."""
    return parse_uuid(stage.get("id")) if isinstance(stage, dict) else None


def _of_headers(headers: Mapping[str, str]) -> Iterator[Difference]:
    kind = headers.get("content-type")
    if kind is None or kind.partition(";")[0].strip().lower() != "application/json":
        yield Difference("header content-type", f"is {one_line(str(kind), LONGEST_VALUE)}")
    for name, value in headers.items():
        if _ABOUT_LIMITS.fullmatch(name):
            shown = one_line(value, LONGEST_VALUE)
            yield Difference(f"header {name}", f"is not in the contract; its value is {shown}")


def _described(error: ValidationError) -> Iterator[tuple[list[str], str]]:
    """Yield what is wrong, each with the names to go on from the error's place."""
    value: Any = error.instance
    limit: Any = error.validator_value
    match error.validator:
        case "required":
            yield from (([name], "is missing") for name in limit if name not in value)
        case "additionalProperties":
            known = error.schema["properties"] if isinstance(error.schema, dict) else {}
            for name in value:
                if name not in known:
                    yield [name], f"is not in the contract; it is {_type(value[name])}"
        case "type":
            wanted = " or ".join([limit] if isinstance(limit, str) else limit)
            yield [], f"is {_type(value)}, not {wanted}"
        case "enum":
            shown = value if isinstance(value, str) and _CODE.fullmatch(value) else _type(value)
            yield [], f"is {shown}, not one of {', '.join(map(str, limit))}"
        case "format":
            yield [], f"is a text that is no {limit}"
        case "minLength" | "maxLength":
            yield [], f"has {len(value)} characters, and {error.validator} is {limit}"
        case "pattern":
            yield [], f"does not match {limit}"
        case keyword:
            yield [], f"is {value}, and {keyword} is {limit}"


def _type(value: Any) -> str:
    if value is None:
        return "null"
    return _TYPES.get(type(value), "a number")


def _place(path: Sequence[str | int]) -> str:
    steps = ("[]" if isinstance(s, int) else f".{one_line(str(s), LONGEST_VALUE)}" for s in path)
    return "".join(steps).removeprefix(".") or "the body"


def _stage_at(body: Any, path: Sequence[str | int]) -> UUID | None:
    if len(path) > 1 and path[0] == "results" and isinstance(path[1], int):
        return id_of(body["results"][path[1]])
    return None


def _refuse(name: str) -> Never:
    # Python's reader knows NaN and Infinity; JSON does not.
    raise ValueError(name)
