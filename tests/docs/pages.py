"""A page of the docs, and the code on it: a mark above a block says what a test does with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_ruddr.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8410/api/workspace"
"""Where the pages have their sandbox."""

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>\w+): (?P<name>[^>]+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        mark: What a test does with it, such as "example"; empty for one without a mark.
        name: Which one it is, or what it has to come to.
        language: What it is written in.
        text: The code.
    """

    mark: str
    name: str
    language: str
    text: str


class Page:
    """A page.

    Args:
        name: Its path in the repository.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ROOT / name
        self.text = self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        """All blocks of code, in order."""
        return [
            Block(found["mark"] or "", found["name"] or "", found["language"], found["text"])
            for found in _BLOCK.finditer(self.text)
        ]

    def marked(self, mark: str) -> dict[str, str]:
        """Return the blocks with a mark, by name, in order."""
        return {block.name: block.text for block in self.blocks if block.mark == mark}

    def run(self, example: str, names: dict[str, Any], sandbox: Sandbox | None = None) -> None:
        """Run an example as it stands.

        Args:
            example: The name of the example.
            names: What examples before it have defined; those of this one are added.
            sandbox: What answers at the address of the page's sandbox.
        """
        code = self.marked("example")[example]
        if sandbox is not None:
            code = code.replace(ADDRESS, sandbox.base_url)
        exec(compile(code, f"{self.name}, {example}", "exec"), names)  # noqa: S102 - our own text

    def commands(self, name: str) -> list[str]:
        """Return the commands of a console block, without the prompt."""
        lines = self.marked("commands")[name].splitlines()
        return [line.removeprefix("$ ") for line in lines]

    def write_files(self, folder: Path) -> None:
        """Write the files that the page shows."""
        for name, content in self.marked("file").items():
            (folder / name).write_text(content, encoding="utf-8")


PAGES = [
    "README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
]
