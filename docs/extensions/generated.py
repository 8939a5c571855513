"""Directives whose content is written by the code that it describes, so that no table is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class Generated(SphinxDirective):
    """A directive that puts Markdown into the page.

    Attributes:
        has_content: it takes none; what it says comes from `markdown`.
    """

    has_content = False
    optional_arguments: ClassVar[int] = 1  # type: ignore[misc]
    final_argument_whitespace = False

    def markdown(self) -> str:
        """The text, in the markup of the page that holds the directive."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the text, headings included."""
        return list(self.parse_text_to_nodes(self.markdown(), allow_section_headings=True))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars in a cell are escaped, line ends become spaces."""
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[object]) -> str:
    texts = (" ".join(str(cell).split()).replace("|", r"\|") for cell in cells)
    return "| " + " | ".join(texts) + " |"
