"""Reads stages as code: YAML files, grouped by pipeline or as a plain list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml
from attrs import frozen

from prefect_ruddr.sources.cells import cell_value
from prefect_ruddr.sources.opening import Lines
from prefect_ruddr.sources.rows import BrokenSource, RawRow
from prefect_ruddr.sources.text_rows import undecoded
from prefect_ruddr.stages.stage import SNAKE_CASE
from prefect_ruddr.texts import LONGEST_VALUE, one_line, shown

LONGEST_YAML = 16 << 20
"""How many characters a YAML file may have: it is held as a whole."""

MOST_LEVELS = 6
"""How deep values may be nested: a stage in a list of a pipeline is at the third level."""

LAYOUT = (
    "should be a list of stages, or `stages:` with a list of them for each pipeline"
    " (and `pipelines:` with the id of each by its name)"
)

_NULLS = {"", "~", "null", "Null", "NULL"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@frozen
class Scalar:
    """A value as it stands: its text, and whether there are quotes around it."""

    text: str
    is_quoted: bool
    line: int

    def value(self, field: str) -> Any:
        """Return what it says; a plain one is read by the same rule as a cell of a table."""
        if self.is_quoted:
            return self.text
        return None if self.text in _NULLS else cell_value(field, self.text)


@frozen
class Block:
    """A mapping, or a list, with the line that it starts on."""

    content: dict[str, Node] | list[Node]
    line: int


Node: TypeAlias = Scalar | Block


@frozen
class YamlFile:
    """What a YAML file holds.

    Attributes:
        pipelines: The ids of pipelines by the names that it gives them.
        rows: Its stages.
    """

    pipelines: dict[str, Any]
    rows: list[RawRow]


def read_yaml(lines: Lines, name: str) -> YamlFile:
    """Read a YAML file as a whole.

    Args:
        lines: The lines of the file.
        name: What messages call the file.

    Raises:
        BrokenSource: When it is not YAML, or not of a layout that holds stages.
    """
    text = _whole(lines, name)
    try:
        events = yaml.parse(text, Loader=_LOADER)
        top = _Builder(events, name).document()
    except yaml.YAMLError as error:
        raise BrokenSource(f"{name}{_where(error)}: not YAML: {_reason(error)}") from None
    if top is None:
        return YamlFile({}, [])
    return _Layout(name).file(top)


def _whole(lines: Lines, name: str) -> str:
    read: list[str] = []
    size = 0
    for line in lines:
        lines.end_row()
        for error in undecoded([line]):
            raise BrokenSource(f"{name} line {lines.number}: {error}")
        size += len(line)
        if size > LONGEST_YAML:
            raise BrokenSource(f"{name}: more than {LONGEST_YAML} characters: split the file")
        read.append(line)
    return "".join(read)


class _Builder:
    """Builds values of what the parser meets: plain ones, each name once, no references.

    PyYAML's own constructor would take a name twice, and build what a reference repeats.
    """

    def __init__(self, events: Iterator[yaml.Event], name: str) -> None:
        self._events = events
        self._name = name

    def document(self) -> Node | None:
        """Return the value of the one document; None where there is nothing."""
        found: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found is not None:
                    raise self._refused(event, "a second document: write it to another file")
                found = self._node(next(self._events), 1)
        return None if isinstance(found, Scalar) and found.value("") is None else found

    def _node(self, event: yaml.Event, level: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            mark = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise self._refused(event, f"{mark}{event.anchor}: references are not taken")
        if getattr(event, "tag", None):
            raise self._refused(event, "tags are not taken: write the value alone")
        if level > MOST_LEVELS:
            raise self._refused(event, "values are nested too deep")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, not event.implicit[0], line)
        if isinstance(event, yaml.SequenceStartEvent):
            return Block(list(self._items(level)), line)
        return Block(self._mapping(level), line)

    def _items(self, level: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self._node(event, level + 1)

    def _mapping(self, level: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, level + 1)
            if not isinstance(key, Scalar):
                raise self._refused(event, "a name should be a text")
            name = "" if _is_null(key) else key.text
            if name in found:
                raise self._refused(event, f"{one_line(key.text, LONGEST_VALUE)}: there twice")
            found[name] = self._node(next(self._events), level + 1)
        return found

    def _refused(self, event: yaml.Event, why: str) -> BrokenSource:
        return BrokenSource(f"{self._name} line {_line(event)}: {one_line(why)}")


class _Layout:
    """Finds the stages in a file's values, and the pipelines that they stand under."""

    def __init__(self, name: str) -> None:
        self._name = name

    def file(self, top: Node) -> YamlFile:
        """Return what the file holds."""
        if isinstance(top, Block) and isinstance(top.content, list):
            return YamlFile({}, list(self._list(top, None)))
        found = self._named(top)
        unknown = found.keys() - {"pipelines", "stages"}
        if unknown or "stages" not in found:
            raise self._refused(top, LAYOUT)
        named = self._named(found["pipelines"]) if "pipelines" in found else {}
        pipelines = {name: _plain(node, "pipeline") for name, node in named.items()}
        return YamlFile(pipelines, list(self._stages(found["stages"])))

    def _stages(self, stages: Node) -> Iterator[RawRow]:
        if isinstance(stages, Block) and isinstance(stages.content, list):
            yield from self._list(stages, None)
            return
        for pipeline, listed in self._named(stages).items():
            # `~` stands for a pipeline that is not known, and "~" in quotes for one of that name.
            yield from self._list(listed, pipeline or None)

    def _list(self, node: Node, pipeline: str | None) -> Iterator[RawRow]:
        if _is_null(node):
            return
        if not isinstance(node, Block) or not isinstance(node.content, list):
            raise self._refused(node, LAYOUT)
        for item in node.content:
            yield self._row(item, pipeline)

    def _row(self, node: Node, pipeline: str | None) -> RawRow:
        place = f"{self._name} line {node.line}"
        if not isinstance(node, Block) or not isinstance(node.content, dict):
            return RawRow({}, place, (f"{shown(_plain(node, ''))} is no stage: give its fields",))
        values = {
            key: _plain(value, SNAKE_CASE.get(key, key)) for key, value in node.content.items()
        }
        if pipeline is None:
            return RawRow(values, place)
        # By name it is the pipeline that the stage is in; by id the one that it shall be in.
        names = ["pipeline"] if "stage" in values else ["opportunity_pipeline_id"]
        names += [camel for camel, snake in SNAKE_CASE.items() if snake == names[0]]
        given = [name for name in names if name in values]
        if given:
            stands = f"it stands under the pipeline {shown(pipeline)}: leave that out"
            return RawRow(values, place, (f"{given[0]}: {stands}",))
        return RawRow({**values, names[0]: pipeline}, place)

    def _named(self, node: Node) -> dict[str, Node]:
        if _is_null(node):
            return {}
        if isinstance(node, Block) and isinstance(node.content, dict):
            return node.content
        raise self._refused(node, LAYOUT)

    def _refused(self, node: Node, why: str) -> BrokenSource:
        return BrokenSource(f"{self._name} line {node.line}: {why}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.is_quoted and node.text in _NULLS


def _plain(node: Node, field: str) -> Any:
    if isinstance(node, Scalar):
        return node.value(field)
    if isinstance(node.content, list):
        return [_plain(item, "") for item in node.content]
    return {key: _plain(item, "") for key, item in node.content.items()}


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" line {mark.line + 1}" if mark else ""


def _reason(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    return one_line(str(problem or error))
