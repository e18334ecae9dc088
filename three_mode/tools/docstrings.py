"""Docstrings as words for a model: the description of a function, and those of its parameters.

Known are Google's sections (`Args:`), reST's fields (`:param city: ...`), and plain lines (`city: ...`).
"""

import inspect
import re
from collections.abc import Callable, Collection
from typing import Any

_ARGUMENT = re.compile(
    r"^\s*(?::param\s+(?:[^\s:]+\s+)?|param\s+)?\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>\S.*)$"
)
_OTHER_FIELD = re.compile(r"^\s*:(?:returns?|rtype|raises?|type)\b.*")
_HEADINGS = frozenset({"args:", "arguments:", "parameters:", "params:"})
# Sections about what the caller gets, which is no business of a model that chooses a tool.
_LEFT_OUT = frozenset({"raises:", "yields:", "example:", "examples:"})


def read_docstring(function: Callable[..., Any], names: Collection[str]) -> tuple[str, dict[str, str]]:
    """Returns the description, and parameter -> words for those of `names` that the docstring describes."""
    words: list[str] = []
    described: dict[str, str] = {}
    last, indent, left_out = "", 0, False
    for line in (inspect.getdoc(function) or "").splitlines():
        stripped = line.strip()
        width = len(line) - len(line.lstrip())
        if left_out and (width or not stripped):
            continue
        left_out = stripped.lower() in _LEFT_OUT
        if left_out or stripped.lower() in _HEADINGS or _OTHER_FIELD.match(line):
            last = ""
            continue
        found = _ARGUMENT.match(line)
        if found and found["name"] in names:
            last, indent = found["name"], width
            described[last] = found["text"].strip()
        elif last and stripped and width > indent:
            described[last] += f" {stripped}"  # the description goes on
        else:
            last = ""
            words.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(words)).strip(), described
