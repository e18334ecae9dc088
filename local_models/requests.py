"""Requests of calls: the prompt of messages, the grammar of an answer and where it begins, and what splits the answer.

All of it follows from the options of a call and from the chat template of the model, which names its marks.
"""

from collections.abc import Sequence

from local_models.backend import GenerationRequest, LoadedModel
from local_models.errors import BadOption
from local_models.openings import Opening
from local_models.options import Generate
from local_models.prompts.answers import AnswerReader
from local_models.prompts.grammar import is_small, schema_grammar, schema_rules
from local_models.prompts.pictures import has_pictures, with_pictures, without_pictures
from local_models.prompts.reasoning import ReasoningSplitter, begins_inside, reasoning_marks
from local_models.prompts.rules import grammar_text
from local_models.prompts.templates import ChatTemplate, Message
from local_models.prompts.tool_formats import START, tool_format
from local_models.prompts.tool_grammar import forced_call_grammar, free_call_grammar
from local_models.prompts.tools import ToolCallParser, forces_call, shown_tools, tool_name


class RequestMaker:
    """Makes the requests of one model. `template` is a chat template in place of its own; "": its own.

    `thinks` are the marks around its reasoning; None: it does not reason.
    """

    def __init__(self, loaded: LoadedModel, template: str) -> None:
        self._summary = loaded.summary
        self.template = ChatTemplate(
            template or loaded.summary.chat_template,
            bos=loaded.bos,
            eos=loaded.eos,
            control=loaded.control,
            adds_bos=loaded.adds_bos,
        )
        self._sees = loaded.sees
        self._calls = tool_format(self.template.source)
        self.thinks = reasoning_marks(self.template.source)

    def require_writer(self) -> None:
        """Raises `BadOption` for a model that writes no text."""
        if self._summary.ranks:
            does, method = "reranks documents", "rerank"
        elif self._summary.encodes:
            does, method = "embeds texts", "embed"
        else:
            return
        raise BadOption(f"this model {does}: it writes no text", field="model", hint=f"`{method}` is what it does")

    def reader(self, how: Generate) -> AnswerReader | None:
        """What splits an answer; None where it is nothing but text."""
        tools = shown_tools(how) if self._free_of_shape(how) or forces_call(how) else ()
        calls = ToolCallParser([tool_name(tool) for tool in tools], self._calls) if tools else None
        if calls is None and self.thinks is None:
            return None
        return AnswerReader(None if self.thinks is None else ReasoningSplitter(self.thinks), calls)

    def rendered_at_once(self, messages: Sequence[Message], how: Generate) -> list[str] | None:
        """The prompt, or None where that may hold an event loop for long."""
        if self._sees and has_pictures(messages):
            return None
        return self.template.render_at_once(messages, shown_tools(how), how.thinking)

    def render(self, messages: Sequence[Message], how: Generate, until: float, pictures: list[bytes]) -> list[str]:
        """The prompt in parts; adds its pictures to `pictures`."""
        if self._sees and has_pictures(messages):
            messages, found = without_pictures(messages)
            pictures += found
        tools = shown_tools(how)
        parts = self.template.render(messages, tools, thinking=how.thinking, until=until, within=how.within)
        return with_pictures(parts, len(pictures)) if pictures else parts

    def of(
        self,
        parts: Sequence[str],
        how: Generate,
        *,
        special: bool,
        pieces: bool,
        tokens: tuple[int, ...] = (),
        grammar: str | None = None,
        reader: AnswerReader | None = None,
        pictures: Sequence[bytes] = (),
    ) -> GenerationRequest:
        """`grammar` is that of the answer, where it is made already; `reader` is what splits the answer to messages."""
        thinks = self.thinks if reader is not None else None
        inside = thinks is not None and begins_inside(thinks, parts)
        if reader is not None and inside:
            reader.begins_inside()
        opens = None
        if grammar is None:
            free = self._may_call(how)
            if free:
                start = START if self._calls.holds_bare else ""
                opens = Opening(marks=self._calls.opens, start=start, thinks=thinks, inside=inside)
                grammar = free_call_grammar(how, self._calls)
            else:
                grammar = self._grammar(how, behind_thought=inside)
                if thinks is not None and inside and grammar:  # first the thought, then what has a shape
                    opens = Opening(marks=(thinks[1],))
        return GenerationRequest(
            parts=tuple(parts),
            tokens=tokens,
            special=special,
            options=how,
            grammar=grammar,
            opens=opens,
            pictures=tuple(pictures),
            shows=((self._calls.marks if how.tools else ()) + (thinks or ())) if reader is not None else (),
            pieces=pieces,
        )

    def has_small_grammar(self, how: Generate) -> bool:
        """Whether the grammar of a call is made in no time."""
        if how.tools and (forces_call(how) or self._may_call(how)) and not is_small(how.tools):
            return False
        return how.schema is None or is_small(how.schema)

    def _may_call(self, how: Generate) -> bool:
        """Whether the model may choose to call a tool; a grammar holds from the beginning of a call on."""
        return how.tool_choice == "auto" and bool(how.tools) and self._free_of_shape(how)

    @staticmethod
    def _free_of_shape(how: Generate) -> bool:
        """Whether neither a schema nor a grammar says what the answer is."""
        return how.schema is None and not how.grammar

    def _grammar(self, how: Generate, *, behind_thought: bool) -> str:
        if forces_call(how):  # a forced tool call overrides the schema of the text
            return forced_call_grammar(how, self._calls, behind_thought=behind_thought)
        if how.schema is not None and behind_thought:
            root, rules, _ = schema_rules(how.schema)
            return grammar_text(f'"\\n"{{0,2}} {root}', rules)
        return schema_grammar(how.schema) if how.schema is not None else how.grammar
