"""`python -m agents_demo` lists the demos; `python -m agents_demo NAME` runs one."""

import ast
import importlib
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parent


def summaries() -> dict[str, str]:
    """Return demo -> first line of its docstring, read without importing the demo."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem] = docstring.partition("\n")[0]
    return found


def main(words: list[str]) -> int:
    demos, console = summaries(), Console()
    if not words or words[0] in ("-h", "--help"):
        listing = Table(box=None, header_style="dim", pad_edge=False)
        listing.add_column("name", style="bold")
        listing.add_column("what it shows")
        for name, summary in demos.items():
            listing.add_row(name, summary)
        console.print(listing)
        console.print("\nRun one with `python -m agents_demo NAME`.")
        return 0
    if words[0] not in demos:
        console.print(f"no demo {words[0]!r}; there are {', '.join(demos)}")
        return 2
    return int(importlib.import_module(f"agents_demo.{words[0]}").main(words[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
