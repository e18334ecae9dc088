"""Pages from notebooks: text as it is, cells of code as code, and what they showed as text. Nothing is run here."""

import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook as one page."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [f"```text\n{_shown(output).rstrip()}\n```" for output in cell["outputs"]]
        else:
            parts.append(source)
    return "\n\n".join(parts) + "\n"


def _shown(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output["data"]["text/plain"])


class NotebookParser(MystParser):
    """Parser of `.ipynb` files."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(as_markdown(json.loads(inputstring)), document)


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx read notebooks."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
