"""Check of a whole answer: its text against the schema of the call, and its tool calls against those of their tools.

Arguments are checked where the caller was promised that they fit: of a call that was forced, and of a tool that is
`strict`. Those of other calls go to the tool as they are, which can tell the model what is wrong with them.
"""

from collections.abc import Sequence
from typing import Any

from local_models.errors import BadGrammar, UnfitAnswer
from local_models.options import Generate
from local_models.prompts.schema_check import Misfit, misfit, misfit_of_text
from local_models.prompts.schemas import check_schema
from local_models.prompts.tools import arguments_schema, forces_call, offered_tools, tool_name
from local_models.replies import Finish, ToolCall


class AnswerCheck:
    """Check of one answer, whose text it takes piece by piece."""

    def __init__(self, how: Generate) -> None:
        self._how = how
        self._text: list[str] = []

    def feed(self, text: str) -> None:
        """Adds text of the answer."""
        if self._how.schema is not None:
            self._text.append(text)

    def problem(self, finish: Finish, calls: Sequence[ToolCall]) -> UnfitAnswer | None:
        """What is wrong with the whole answer; None for one that fits, or that `max_tokens` cut off."""
        if finish == "length":
            return None
        if calls:
            return next((found for call in calls if (found := self._of_call(call)) is not None), None)
        if self._how.schema is None or forces_call(self._how):
            return None
        return self._error("the answer does", misfit_of_text(self._how.schema, "".join(self._text)))

    def _of_call(self, call: ToolCall) -> UnfitAnswer | None:
        tool = next((tool for tool in offered_tools(self._how) if tool_name(tool) == call.name), None)
        if tool is None or not (forces_call(self._how) or tool.get("function", {}).get("strict") is True):
            return None
        schema = arguments_schema(tool)
        try:
            check_schema(schema, lenient=True)
        except BadGrammar:  # any object was allowed
            return None
        return self._error(f"the arguments of {call.name!r} do", misfit(schema, call.parsed, len(call.arguments)))

    def _error(self, what: str, found: Misfit | None) -> UnfitAnswer | None:
        if found is None:
            return None
        how = self._how
        return UnfitAnswer(
            f"{what} not fit the JSON Schema: {found}",
            path=found.path,
            keyword=found.keyword,
            may_differ=how.temperature > 0 and how.seed is None,
        )


def answer_check(how: Generate) -> AnswerCheck | None:
    """The check of a call's answer; None where nothing is promised of it."""
    tools: tuple[dict[str, Any], ...] = offered_tools(how)
    strict = any(tool.get("function", {}).get("strict") is True for tool in tools)
    return AnswerCheck(how) if how.schema is not None or strict or forces_call(how) else None
