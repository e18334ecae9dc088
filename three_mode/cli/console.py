"""Consoles of the commands: the terminal's width in a terminal, and no width at all elsewhere."""

import os
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

UNCUT = 100_000  # columns, where nobody looks: a program that reads the output gets whole lines


def open_console(stderr: bool = False) -> Console:
    """A console on standard output, or on standard error. In a pipe or a file nothing is cut or wrapped, unless the
    environment asks for a width with COLUMNS."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return Console(stderr=stderr)
    return Console(stderr=stderr, width=UNCUT)


def tell(console: Console, lines: Iterable[str]) -> None:
    """Prints lines as they are."""
    for line in lines:
        console.print(escape(line), soft_wrap=True, highlight=False)
    sys.stderr.flush()
