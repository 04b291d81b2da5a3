"""What `make docs` adds to the pages of `docs/`: those at the root, and how code looks."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
AT_THE_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the root of the repository, and a style sheet for code."""
    for name in AT_THE_ROOT:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    styles = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    styles += "\ntd code, .bs-sidebar { overflow-wrap: anywhere; }\n"
    files.append(File.generated(config, "code.css", content=styles))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Mend the links between the root and `docs/`, which are one folder on the site."""
    return markdown if "/" in page.file.src_uri else re.sub(r"\]\((docs|\.\.)/", "](", markdown)


class Spelled(griffe.Extension):
    """Spells out the types that have no page of their own, without the limits they may have.

    `Annotated[X, …]` is shown as `X`: the text beside it says the limits.
    """

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Spell the types of all fields, parameters and results."""
        self._public = {str(name) for name in pkg.exports or ()}
        self._package = pkg
        self._spell_members(pkg)

    def _spell_members(self, where: griffe.Module | griffe.Class) -> None:
        for member in where.members.values():
            if isinstance(member, griffe.Module | griffe.Class):
                self._spell_members(member)
            elif isinstance(member, griffe.Attribute):
                member.annotation = self._spelled(member.annotation)
            elif isinstance(member, griffe.Function):
                for parameter in member.parameters:
                    parameter.annotation = self._spelled(parameter.annotation)

    def _spelled(self, shown: Any) -> Any:
        if isinstance(shown, griffe.ExprSubscript) and str(shown.left) == "Annotated":
            inner = shown.slice
            return self._spelled(
                inner.elements[0] if isinstance(inner, griffe.ExprTuple) else inner
            )
        if isinstance(shown, griffe.ExprSubscript):
            return replace(shown, slice=self._spelled(shown.slice))
        if isinstance(shown, griffe.ExprBinOp):
            return replace(shown, left=self._spelled(shown.left), right=self._spelled(shown.right))
        if isinstance(shown, griffe.ExprName) and shown.name not in self._public:
            package, _, path = shown.canonical_path.partition(".")
            if package == self._package.name:
                meant = self._package[path]
                if isinstance(meant, griffe.Attribute) and str(meant.annotation) == "TypeAlias":
                    return self._spelled(meant.value)
        return shown
