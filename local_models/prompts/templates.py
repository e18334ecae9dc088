"""Chat templates: renders messages in sandboxed Jinja, with control tokens only where the template wrote them.

The text of a user or a tool may contain the text of a control token. The rendered prompt is cut inside each such place
and its parts are tokenized one by one, so that no control token forms. All other text is tokenized whole, as usual.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

from local_models.errors import BadOption, BadTemplate, translate_errors

Message = Mapping[str, Any]
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters around text that is not the template's
_LONGEST = 4 << 20  # characters of a prompt
ROLES = ("system", "developer", "user", "assistant", "tool")


class _Refused(Exception):
    """Raised by `raise_exception` of a template."""


def _raise(message: str) -> None:
    raise _Refused(message)


@lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    with translate_errors("render chat templates"):
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    try:
        return environment.from_string(template)
    except TemplateError as error:
        raise BadTemplate(f"the chat template does not parse: {error}", field="chat_template") from error


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
                raise BadOption("local models read text only", field=f"messages[{at}].content[{index}]")
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


def _mark_content(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"].replace(_OPEN, "\ufffd").replace(_CLOSE, "\ufffd")
    core = content.strip()
    if not core:
        return message
    before, _, after = content.partition(core)  # white space stays outside of the marks: templates may trim it
    return {**message, "content": f"{before}{_OPEN}{core}{_CLOSE}{after}"}


class ChatTemplate:
    """Chat template of a model. `control` has the texts of its control tokens, `bos` and `eos` its marks."""

    def __init__(self, template: str, *, bos: str = "", eos: str = "", control: Iterable[str] = ()) -> None:
        self.source = template
        self._bos, self._eos = bos, eos
        self._control = sorted({text for text in control if len(text) > 1}, key=len, reverse=True)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), *, answer: bool = True
    ) -> list[str]:
        """Returns the prompt in parts that are tokenized one by one, with control tokens parsed.

        `answer` adds the beginning of an answer. Raises `BadTemplate` or `BadOption` for messages that it cannot
        render.
        """
        if not self.source:
            raise BadTemplate(
                "this model has no chat template",
                field="messages",
                hint="use `complete`, or give `chat_template`",
            )
        plain = _plain_messages(messages)
        marked = self._run([_mark_content(message) for message in plain], tools, answer)
        text, message_parts = self._unmark(marked)
        if text is None:  # the template took a content apart: its own text and that of the message cannot be told apart
            text = self._run(plain, tools, answer)
            if any(token in message["content"] for message in plain for token in self._control):
                raise BadTemplate("a message contains the text of a control token", field="messages")
            return [self._without_bos(text)]
        return self._cut(text, message_parts)

    def _run(self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], answer: bool) -> str:
        from jinja2 import TemplateError

        try:
            text: str = _compiled(self.source).render(
                messages=messages,
                tools=list(tools) or None,
                add_generation_prompt=answer,
                bos_token=self._bos,
                eos_token=self._eos,
            )
        except _Refused as error:
            raise BadTemplate(f"the chat template refuses these messages: {error}", field="messages") from error
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise BadTemplate(f"the chat template failed: {error}", field="messages") from error
        if len(text) > _LONGEST:
            raise BadOption(f"the prompt is longer than {_LONGEST} characters", field="messages")
        return text

    def _without_bos(self, text: str) -> str:
        """Removes the mark that begins a prompt: the tokenizer adds it again."""
        return text.removeprefix(self._bos) if self._bos else text

    def _unmark(self, marked: str) -> tuple[str | None, list[tuple[int, int]]]:
        marked = self._without_bos(marked)
        pieces: list[str] = []
        parts: list[tuple[int, int]] = []
        length, rest = 0, marked
        while _OPEN in rest:
            own, _, rest = rest.partition(_OPEN)
            content, closed, rest = rest.partition(_CLOSE)
            if not closed or _CLOSE in own or _OPEN in content:
                return None, []
            pieces += [own, content]
            parts.append((length + len(own), length + len(own) + len(content)))
            length += len(own) + len(content)
        if _CLOSE in rest:
            return None, []
        return "".join([*pieces, rest]), parts

    def _cut(self, text: str, message_parts: list[tuple[int, int]]) -> list[str]:
        """Cuts inside every control token that touches text of a message."""
        cuts: set[int] = set()
        for token in self._control:
            at = text.find(token)
            while at >= 0:
                end = at + len(token)
                if any(at < stop and start < end for start, stop in message_parts):
                    cuts.add(at + 1)
                at = text.find(token, at + 1)
        borders = [0, *sorted(cuts), len(text)]
        return [text[a:b] for a, b in pairwise(borders) if b > a]
