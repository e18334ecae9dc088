"""Runs code of a document as it stands there: the text of a snippet, with its import lines changed and nothing else."""

import ast
import inspect
import textwrap
from types import CodeType
from typing import Any

# Import lines of the documents -> those of this package.
IMPORTS = {
    "from core.llm_connection import": "from three_mode.compat.dive import",
    "from openhands.llm.llm import": "from three_mode.compat.openhands import",
    "from openhands.llm.async_llm import": "from three_mode.compat.openhands import",
    "from openhands.llm.streaming_llm import": "from three_mode.compat.openhands import",
    "from openhands.core.config import": "from three_mode.compat.openhands import",
    "from app.utils.request_tracker import": "from three_mode.compat.mrc import",
    "from coda.components.llm.base_provider import": "from three_mode.compat.coda import",
    "from coda.components.llm import": "from three_mode.compat.coda import",
    "from coda.components.tools import": "from three_mode.compat.coda import",
    "from coda.components.memory import": "from three_mode.compat.coda import",
    "from coda.components.personality import": "from three_mode.compat.coda import",
    "from coda.interfaces.websocket import": "from three_mode.compat.coda import",
}


def code_of(snippet: str, changes: dict[str, str] | None = None) -> CodeType:
    """The snippet as code that may await at its top. `changes` are keys and addresses; each must be in the text."""
    text = textwrap.dedent(snippet)
    for line, ours in IMPORTS.items():
        text = text.replace(line, ours)
    for theirs, ours in (changes or {}).items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    code = compile(text, "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


async def run(snippet: str, names: dict[str, Any] | None = None, changes: dict[str, str] | None = None) -> Any:
    """Runs a snippet; its names, and those it was given."""
    names = {} if names is None else names
    names.setdefault("__name__", "snippet")
    done = eval(code_of(snippet, changes), names)
    if inspect.isawaitable(done):
        await done
    return names


def run_plain(snippet: str, names: dict[str, Any] | None = None, changes: dict[str, str] | None = None) -> Any:
    """The same for code without an event loop."""
    names = {} if names is None else names
    names.setdefault("__name__", "snippet")
    eval(code_of(snippet, changes), names)
    return names
