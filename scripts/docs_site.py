"""What `make docs` adds to the pages of `docs/`: those at the root, and how code looks."""

import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[1]
AT_THE_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the root of the repository, and a style sheet for code."""
    for name in AT_THE_ROOT:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    styles = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    files.append(File.generated(config, "code.css", content=styles))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Mend the links between the root and `docs/`, which are one folder on the site."""
    return markdown if "/" in page.file.src_uri else re.sub(r"\]\((docs|\.\.)/", "](", markdown)


class WithoutLimits(griffe.Extension):
    """Shows the type of a field alone: the text beside it says its limits."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Take `X` for `Annotated[X, …]`."""
        shown = attr.annotation
        if isinstance(shown, griffe.ExprSubscript) and str(shown.left) == "Annotated":
            inner = shown.slice
            attr.annotation = inner.elements[0] if isinstance(inner, griffe.ExprTuple) else inner
