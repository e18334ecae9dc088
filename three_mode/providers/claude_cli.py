"""Codec of the `claude` command: arguments and input lines out, output lines in. The events inside are Anthropic's.

    claude -p --output-format stream-json --verbose --input-format stream-json --include-partial-messages ...

Lines that do not begin with `{` are ignored: a program may print a greeting. Kinds of lines: system, stream_event,
assistant, user, result.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.errors import (
    AuthenticationError,
    LLMError,
    ProviderOverloaded,
    QuotaExhausted,
    RateLimit,
    ServerError,
)
from three_mode.messages import Chunk, Finish, LLMRequest, Message, Text, ThinkingDelta, UsageUpdate
from three_mode.messages.chunks import TextDelta, ToolDelta
from three_mode.providers.anthropic_reply import MessageEvents, usage
from three_mode.providers.anthropic_request import turns
from three_mode.providers.pieces import encode_json, refuse, text_of
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply, without_keys
from three_mode.providers.stream import LineDecoder
from three_mode.providers.without_effect import is_spared

BASE = (
    "-p",
    "--output-format",
    "stream-json",
    "--verbose",
    "--input-format",
    "stream-json",
    "--include-partial-messages",
)
_CANNOT = ("temperature", "top_p", "seed", "stop", "tools", "max_tokens")


class Invocation(Struct, frozen=True):
    """Arguments and input of one run of the command."""

    arguments: tuple[str, ...]  #: arguments, without the program
    stdin: bytes  #: lines for its standard input


def invocation(request: LLMRequest, model: str, profile: Profile) -> Invocation:
    """Encodes a request. `extra={"resume": ID}` continues a session; `extra={"args": [...]}` adds arguments."""
    for name in _CANNOT:
        if getattr(request, name) not in (None, ()):  # 0 is a value too
            raise refuse(profile, name, f"takes no {name}", "use provider='anthropic' for it")
    if request.reasoning is not None and request.reasoning.budget_tokens is not None:
        raise refuse(
            profile,
            "reasoning.budget_tokens",
            "counts no thinking budget",
            'use reasoning="low", "medium"...',
        )
    if request.response_format is not None and request.response_format.json_schema is None:
        raise refuse(profile, "response_format", "answers in JSON only with a schema", "response_format=SomeType")
    arguments = [*BASE, "--model", model]
    if request.system:
        arguments += ["--system-prompt", request.system]
    if request.reasoning is not None and request.reasoning.effort is not None:
        arguments += ["--effort", request.reasoning.effort]
    if request.response_format is not None and request.response_format.json_schema is not None:
        arguments += ["--json-schema", encode_json(request.response_format.json_schema).decode()]
    for name, value in request.extra.items():
        if is_spared(profile.wire, name, value):
            continue
        if name == "resume" and isinstance(value, str):
            arguments.append(f"--resume={value}")
        elif name == "args" and isinstance(value, list) and all(isinstance(each, str) for each in value):
            arguments += value
        else:
            raise refuse(
                profile,
                f"extra.{name}",
                f"has no {name!r}",
                "resume= (a session's id) or args= (a list of strings)",
            )
    return Invocation(tuple(arguments), _stdin(request, profile))


def _stdin(request: LLMRequest, profile: Profile) -> bytes:
    """Encodes the last user message, with the messages before it as text: the command accepts no other history."""
    conversation = [message for message in request.messages if message.role != "system"]
    last = conversation[-1]
    if last.role != "user":
        raise refuse(profile, "messages", "answers a user's message", "end with one")
    content: Any = turns(LLMRequest(messages=[last]), profile)[0]["content"]
    if len(conversation) > 1:
        before = "\n\n".join(f"{_speaker(message)}: {message.text}" for message in conversation[:-1])
        history = f"The conversation so far:\n\n{before}\n\nThe user now says:\n\n"
        content = history + content if isinstance(content, str) else [{"type": "text", "text": history}, *content]
    line = {"type": "user", "message": {"role": "user", "content": content}}
    return encode_json(line) + b"\n"


def _speaker(message: Message) -> str:
    if not isinstance(message.content, str) and not all(isinstance(part, Text) for part in message.content):
        return message.role + " (with parts that are left out here)"
    return message.role


class CLIDecoder(LineDecoder):
    """Decodes lines to chunks. Only `result` is an end; a reply without partial messages is read from `assistant`."""

    __slots__ = ("_content", "_message", "_session", "_started")

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._message = MessageEvents(profile)
        self._session: str | None = None
        self._started = False
        self._content = False

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        """Adds the chunks of one line."""
        if not unit.startswith(b"{"):
            return
        value = msgspec.json.decode(unit)
        kind = value.get("type")
        if value.get("session_id"):
            self._session = text_of(value["session_id"])
        if kind == "stream_event":
            self._event(value["event"], out)
        elif kind == "assistant" and not self._content:
            self._whole(value["message"], out)
        elif kind == "result":
            self._result(value, out)

    def _event(self, event: dict[str, Any], out: list[Chunk]) -> None:
        """Adds the chunks of an event.

        A turn with tool calls of the command has several messages: their ends are dropped.
        """
        found: list[Chunk] = []
        self._message.take(event, found)
        self.error = self._message.error
        for chunk in found:
            if isinstance(chunk, Finish):
                self._message.finished = False
            elif not isinstance(chunk, ToolDelta):
                self._content = self._content or isinstance(chunk, TextDelta | ThinkingDelta)
                out.append(chunk)

    def _whole(self, message: dict[str, Any], out: list[Chunk]) -> None:
        for index, block in enumerate(message.get("content") or ()):
            if block.get("type") == "text" and block.get("text"):
                out.append(TextDelta(text_of(block["text"]), index))
                self._content = True

    def _result(self, value: dict[str, Any], out: list[Chunk]) -> None:
        if value.get("is_error") or str(value.get("subtype", "success")) != "success":
            self.error = failed(self.profile, str(value.get("result") or value.get("subtype") or "it failed"))
            return
        if not self._content and value.get("result"):
            out.append(TextDelta(text_of(value["result"]), 0))
        if value.get("usage"):
            out.append(UsageUpdate(_paid(usage(value["usage"]), value.get("total_cost_usd"))))
        extra = {"session_id": self._session} if self._session else {}
        extra |= {
            name: value[name] for name in ("num_turns", "structured_output", "permission_denials") if value.get(name)
        }
        out.append(Finish("stop", extra=extra))
        self.done = True

    def ended(self, out: list[Chunk]) -> None:
        """Sets the error of a command that ended without a result."""
        self.error = bad_reply(self.profile, "the command ended without a result")


def _paid(counted: Any, cost: Any) -> Any:
    """Adds the cost that the command reports, which is more exact than a price list."""
    try:
        return counted if cost is None else msgspec.structs.replace(counted, cost=Decimal(str(cost)))
    except InvalidOperation:
        return counted


def failed(profile: Profile, message: str, status: int | None = None) -> LLMError:
    """Converts the command's message of failure to an error; `status` is its exit code."""
    words = message.lower()
    kind: type[LLMError] = ServerError
    if "login" in words or "api key" in words or "authenticat" in words or "unauthorized" in words:
        kind = AuthenticationError
    elif "usage limit" in words or "credit" in words:
        kind = QuotaExhausted
    elif "rate limit" in words or "429" in words:
        kind = RateLimit
    elif "overloaded" in words or "529" in words:
        kind = ProviderOverloaded
    hint = "run `claude` once and log in" if kind is AuthenticationError else None
    code = f"exit {status}" if status is not None else None
    return kind(f"{profile.name}: {without_keys(message.strip())[:500]}", provider=profile.name, code=code, hint=hint)
