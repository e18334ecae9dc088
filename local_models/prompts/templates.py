"""Chat templates: renders messages in sandboxed Jinja, with control tokens only where the template wrote them.

The text of a user or a tool may contain the text of a control token. The rendered prompt is cut inside each such place
and its parts are tokenized one by one, so that no control token forms. All other text is tokenized whole, as usual.
"""

import hashlib
import json
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from local_models.errors import BadOption, BadTemplate, DeadlineExceeded, translate_errors
from local_models.prompts.pictures import refusal
from local_models.prompts.tool_formats import shows_tools, tool_format
from local_models.prompts.tool_preamble import told_in_words

Message = Mapping[str, Any]
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters around text that is not the template's
_LONGEST = 4 << 20  # characters of a prompt
_LONGEST_TEMPLATE = 1 << 20  # characters of its source
_TEXTS = ("content", "reasoning_content")  # fields of a message with words that are not the template's
ROLES = ("system", "developer", "user", "assistant", "tool")
_THINKING = ("enable_thinking", "thinking")  # names by which templates take the choice whether to reason
# On the event loop a rendering may take so many steps, characters of messages, and seconds. More goes to a thread.
_LOOP_STEPS, _LOOP_SIZE, _LOOP_MESSAGES, _LOOP_CHARACTERS, _LOOP_SECONDS = 5_000, 1 << 20, 64, 32_768, 0.02


class _Refused(Exception):
    """Raised by `raise_exception` of a template."""


def _raise(message: str) -> None:
    raise _Refused(message)


@lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    with translate_errors("render chat templates"):
        from jinja2 import TemplateError

        from local_models.prompts.sandbox import Allowance, CountingEnvironment, RenderLimit, with_allowance

    if len(template) > _LONGEST_TEMPLATE:
        raise BadTemplate(f"the chat template is longer than {_LONGEST_TEMPLATE} characters", field="chat_template")
    environment = CountingEnvironment()
    environment.globals["raise_exception"] = _raise
    try:
        allowance = Allowance(time.monotonic() + 10, steps=100_000)
        return with_allowance(allowance, lambda: environment.from_string(template))
    except (TemplateError, RenderLimit, RecursionError, MemoryError, SyntaxError, ValueError, TypeError) as error:
        raise BadTemplate(f"the chat template does not parse: {_reason(error)}", field="chat_template") from error


def _reason(error: BaseException) -> str:
    """Returns what an error says, or its name; some quote whole texts."""
    return (str(error) or type(error).__name__)[:300]


def content_text(message: Message, at: int) -> str:
    """Returns the content of a message as one text; raises `BadOption` for parts other than text."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = []
        for index, part in enumerate(content):
            if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise refusal(part, f"messages[{at}].content[{index}]")
            parts.append(part["text"])
        return "".join(parts)
    raise BadOption("content is text, or a list of text parts", field=f"messages[{at}].content")


def _plain_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    if not messages:
        raise BadOption("there is no message", field="messages")
    plain = []
    for at, message in enumerate(messages):
        role = message.get("role")
        if role not in ROLES:
            raise BadOption(f"a role is one of {', '.join(ROLES)}, not {role!r}", field=f"messages[{at}].role")
        fields = {key: value for key, value in message.items() if value is not None}
        fields["content"] = content_text(message, at)
        if calls := fields.get("tool_calls"):
            fields["tool_calls"] = [_plain_call(call) for call in calls]
        plain.append(fields)
    return plain


def _plain_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Turns the arguments into a mapping, which templates print as JSON; text that is not JSON stays text."""
    function = dict(call.get("function", {}))
    if isinstance(function.get("arguments"), str):
        try:
            function["arguments"] = json.loads(function["arguments"] or "{}")
        except ValueError:
            pass
    return {**call, "function": function}


def _short_ids(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gives calls and their results ids of nine letters and digits, as some templates want them."""

    def short(identity: Any) -> Any:
        if not isinstance(identity, str) or (len(identity) == 9 and identity.isalnum()):
            return identity
        return hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:9]

    changed = []
    for message in messages:
        more: dict[str, Any] = {}
        if message.get("tool_calls"):
            more["tool_calls"] = [{**call, "id": short(call.get("id"))} for call in message["tool_calls"]]
        if "tool_call_id" in message:
            more["tool_call_id"] = short(message["tool_call_id"])
        changed.append({**message, **more} if more else message)
    return changed


def _mark_content(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, **{name: _marked(message[name]) for name in _TEXTS if isinstance(message.get(name), str)}}


def _marked(content: str) -> str:
    content = content.replace(_OPEN, "\ufffd").replace(_CLOSE, "\ufffd")
    core = content.strip()
    if not core:
        return content
    before, _, after = content.partition(core)  # white space stays outside of the marks: templates may trim it
    return f"{before}{_OPEN}{core}{_CLOSE}{after}"


class ChatTemplate:
    """Chat template of a model. `control` has the texts of its control tokens, `bos` and `eos` its marks; `adds_bos`
    says whether the tokenizer writes `bos` before each prompt, so that the one of the template is left out."""

    def __init__(
        self, template: str, *, bos: str = "", eos: str = "", control: Iterable[str] = (), adds_bos: bool = True
    ) -> None:
        self.source = template
        self._bos, self._eos = bos, eos
        self._left_out = bos if adds_bos else ""
        self._compiled = False
        self._shows_tools = shows_tools(template)
        self._short_ids = tool_format(template).short_ids
        self._control = sorted({text for text in control if len(text) > 1}, key=len, reverse=True)

    def compile(self) -> None:
        """Compiles the template, which takes milliseconds; an error of it is raised when it renders."""
        if self.source:
            try:
                _compiled(self.source)
            except BadTemplate:
                return
            self._compiled = True

    def render_at_once(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), thinking: bool | None = None
    ) -> list[str] | None:
        """Returns the prompt as `render` does, or None where that may hold an event loop for long."""
        if self._is_long(messages, tools):
            return None
        from local_models.prompts.sandbox import Allowance, RenderLimit

        try:
            allowance = Allowance(time.monotonic() + _LOOP_SECONDS, steps=_LOOP_STEPS, size=_LOOP_SIZE)
            return self._render(messages, tools, answer=True, allowance=allowance, thinking=thinking)
        except RenderLimit:
            return None

    def _is_long(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> bool:
        if not self.source:
            return False  # refused at once
        if not self._compiled or len(messages) > _LOOP_MESSAGES or len(tools) > _LOOP_MESSAGES:
            return True
        count = 0
        for message in messages:
            content = message.get("content")
            if message.get("tool_calls") or not (content is None or isinstance(content, str)):
                return True  # of any depth
            count += len(content or "")
        return count > _LOOP_CHARACTERS

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        answer: bool = True,
        thinking: bool | None = None,
        within: float = 60.0,
        until: float = 0.0,
    ) -> list[str]:
        """Returns the prompt in parts that are tokenized one by one, with control tokens parsed.

        `answer` adds the beginning of an answer. `thinking` asks for reasoning, or for none, where the template has a
        choice. Raises `BadTemplate` or `BadOption` for messages that it cannot
        render, `DeadlineExceeded` after `within` seconds, or at `until` of `time.monotonic` where that is given.
        """
        if not self.source:
            return self._render(messages, tools, answer=answer, allowance=None, thinking=thinking)
        with translate_errors("render chat templates"):
            from local_models.prompts.sandbox import Allowance, RenderLimit, weigh, with_allowance

        until = until or time.monotonic() + within
        try:
            everything = with_allowance(Allowance(until, given=1 << 28), lambda: weigh([*messages, *tools]))
            allowance = Allowance(until, given=everything)
            return self._render(messages, tools, answer=answer, allowance=allowance, thinking=thinking)
        except RenderLimit as error:
            if error.late:
                raise DeadlineExceeded("prefill", within) from None
            raise BadTemplate(f"the chat template was stopped: {error}", field="messages") from None

    def _render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        answer: bool,
        allowance: Any,
        thinking: bool | None,
    ) -> list[str]:
        if not self.source:
            raise BadTemplate(
                "this model has no chat template",
                field="messages",
                hint="use `complete`, or give `chat_template`",
            )
        plain = _plain_messages(messages)
        if self._short_ids:
            plain = _short_ids(plain)
        if not self._shows_tools:
            plain, tools = told_in_words(plain, tools), ()
        given = {
            "tools": list(tools) or None,
            "add_generation_prompt": answer,
            **({} if thinking is None else dict.fromkeys(_THINKING, thinking)),
        }
        marked = self._run([_mark_content(message) for message in plain], given, allowance)
        text, message_parts = self._unmark(marked)
        if text is None:  # the template took a content apart: its own text and that of the message cannot be told apart
            text = self._run(plain, given, allowance)
            everything = "\0".join(str(message.get(name, "")) for message in plain for name in _TEXTS)
            if any(token in everything for token in self._control):
                raise BadTemplate("a message contains the text of a control token", field="messages")
            return [self._without_bos(text)]
        return self._cut(text, message_parts)

    def _run(self, messages: list[dict[str, Any]], given: Mapping[str, Any], allowance: Any) -> str:
        from jinja2 import TemplateError

        compiled = _compiled(self.source)
        from local_models.prompts.sandbox import with_allowance

        try:
            text: str = with_allowance(
                allowance,
                lambda: compiled.render(messages=messages, bos_token=self._bos, eos_token=self._eos, **given),
            )
        except _Refused as error:
            raise BadTemplate(
                f"the chat template refuses these messages: {_reason(error)}", field="messages"
            ) from error
        except (
            TemplateError,
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            MemoryError,
        ) as error:
            raise BadTemplate(f"the chat template failed: {_reason(error)}", field="messages") from error
        if len(text) > _LONGEST:
            raise BadOption(f"the prompt is longer than {_LONGEST} characters", field="messages")
        return text

    def _without_bos(self, text: str) -> str:
        """Removes the mark that begins a prompt, where the tokenizer adds it again."""
        return text.removeprefix(self._left_out)

    def _unmark(self, marked: str) -> tuple[str | None, list[tuple[int, int]]]:
        """Returns the text without marks, and where the messages are in it; None if the marks are not in pairs."""
        own, *marked_parts = self._without_bos(marked).split(_OPEN)
        if _CLOSE in own:
            return None, []
        pieces: list[str] = [own]
        parts: list[tuple[int, int]] = []
        length = len(own)
        for marked_part in marked_parts:
            content, closed, own = marked_part.partition(_CLOSE)
            if not closed or _CLOSE in own:
                return None, []
            pieces += [content, own]
            parts.append((length, length + len(content)))
            length += len(content) + len(own)
        return "".join(pieces), parts

    def _cut(self, text: str, message_parts: list[tuple[int, int]]) -> list[str]:
        """Cuts inside every control token that touches text of a message."""
        cuts: set[int] = set()
        starts = [start for start, _ in message_parts]
        stops = [stop for _, stop in message_parts]
        for token in self._control:
            at = text.find(token)
            while at >= 0:
                # of the parts that end after the token begins, the first begins before the token ends
                if bisect_right(stops, at) < bisect_left(starts, at + len(token)):
                    cuts.add(at + 1)
                at = text.find(token, at + 1)
        borders = [0, *sorted(cuts), len(text)]
        return [text[a:b] for a, b in pairwise(borders) if b > a]
