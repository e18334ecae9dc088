"""Finds tool calls in what a model says, while it says it. Pure.

Three spellings are known: `<tool_call>{...}</tool_call>` (Hermes, Qwen, our tiny model), `[TOOL_CALLS] [...]` (Mistral), and an
answer that is nothing but the JSON of a call (Llama 3). What looks like a call but is not one is given back as text.
"""

import json
from collections.abc import Collection
from typing import Any

from local_models.replies import ToolCall

OPEN, CLOSE, MISTRAL = "<tool_call>", "</tool_call>", "[TOOL_CALLS]"


def _one(value: Any, known: Collection[str], number: int) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name")
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    if not isinstance(name, str) or not isinstance(arguments, dict) or (known and name not in known):
        return None
    text = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(id=f"call_{number}", name=name, arguments=text, parsed=arguments)


def _calls(text: str, known: Collection[str], first: int) -> list[ToolCall]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    values = value if isinstance(value, list) else [value]
    found = [_one(each, known, first + index) for index, each in enumerate(values)]
    return [call for call in found if call is not None] if all(found) else []


class ToolTalk:
    """Feed it the text of an answer; it gives back what is ordinary text, and keeps the calls."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._held = ""
        self._begun = False  # something ordinary was said, so a later `{` is no call
        self.calls: list[ToolCall] = []

    def feed(self, text: str) -> str:
        self._held += text
        shown = ""
        while True:
            opened = self._held.find(OPEN)
            if opened < 0:
                break
            closed = self._held.find(CLOSE, opened)
            if closed < 0:
                return shown + self._show(opened)
            body = self._held[opened + len(OPEN) : closed]
            found = _calls(body, self._known, len(self.calls))
            end = closed + len(CLOSE)
            shown += self._show(opened) if found else self._show(end)
            if found:
                self.calls += found
                self._held = self._held[end - opened :]
                self._begun = self._begun or bool(shown.strip())
        start = self._held.lstrip()
        if (
            not self._begun
            and not self.calls
            and start
            and (start[0] in "{" or MISTRAL.startswith(start[: len(MISTRAL)]))
        ):
            return shown  # perhaps the whole answer is a call: known at its end
        return shown + self._show(len(self._held) - self._overlap())

    def _show(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._begun = self._begun or bool(text.strip())
        return text

    def _overlap(self) -> int:
        for length in range(min(len(OPEN) - 1, len(self._held)), 0, -1):
            if self._held.endswith(OPEN[:length]):
                return length
        return 0

    def end(self) -> str:
        """What was held back and is no call."""
        text = self._held.strip()
        body = text.removeprefix(MISTRAL) if text.startswith(MISTRAL) else text.removeprefix(OPEN)
        if body and (text.startswith((MISTRAL, OPEN)) or not self._begun):
            found = _calls(body, self._known, len(self.calls))
            if found:
                self.calls += found
                self._held = ""
                return ""
        return self._show(len(self._held))
