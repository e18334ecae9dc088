"""Prompts with context: the system prompt with what stays, the user's turn with what changes.

    told = enhance("You are a helpful assistant.", Context(persona=nova, preferences=("detailed", "technical")))
    told.text, told.left_out

Pure: no I/O, and the same arguments give the same text.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, overload

import msgspec
from msgspec import Struct

from three_mode.messages import LLMResponse, Message, Step, Text, ToolResult
from three_mode.messages.plain import message_from
from three_mode.prompts.context import MOOD, Context, ContextPiece
from three_mode.providers.estimate import estimate_text

#: Counts the tokens of a text.
CountTokens = Callable[[str], int]


class LeftOut(Struct, frozen=True):
    """Lines of a piece that a budget had no room for."""

    piece: str  #: name of the piece
    lines: int  #: how many of its lines were left out
    of: int  #: how many it had
    why: str  #: the budget that was too small

    def __str__(self) -> str:
        return f"{self.piece}: {self.lines} of {self.of} lines left out, {self.why}"


class Enhanced(Struct, frozen=True, kw_only=True):
    """A prompt with context, and what its budgets had no room for."""

    text: str  #: the whole prompt
    stable: str = ""  #: the part of a system prompt before anything that changes; a prefix of `text`
    left_out: tuple[LeftOut, ...] = ()  #: what was left out, a piece each
    tokens: int = 0  #: tokens of the context, without the prompt itself

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was left out, as steps of a reply."""
        return steps_of(self.left_out)

    def system_message(self, cache: str | None = None) -> Message:
        """The prompt as a system message. `cache` marks the end of its stable part for providers whose cache needs a
        mark: "5m" or "1h"."""
        if cache is None or not self.stable:
            return Message("system", self.text)
        rest = self.text[len(self.stable) :]
        marked = Text(self.stable, cache=cache)
        return Message("system", (marked, Text(rest)) if rest else (marked,))


class EnhancedMessages(Sequence[Message]):
    """A conversation with context: a sequence of its messages, which a request takes as it is.

    messages: the conversation
    left_out: what was left out, a piece each
    """

    __slots__ = ("left_out", "messages")

    def __init__(self, messages: Sequence[Message], left_out: Sequence[LeftOut] = ()) -> None:
        self.messages = tuple(messages)
        self.left_out = tuple(left_out)

    def __len__(self) -> int:
        return len(self.messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...
    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        return self.messages[index]

    def __repr__(self) -> str:
        return f"EnhancedMessages({self.messages!r}, left_out={self.left_out!r})"

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was left out, as steps of a reply."""
        return steps_of(self.left_out)

    def add_steps(self, reply: LLMResponse) -> LLMResponse:
        """The reply with what was left out among its steps, before those of the call."""
        return msgspec.structs.replace(reply, steps=self.steps + reply.steps) if self.left_out else reply


def enhance(system: str, context: Context, *, everything: bool = False, count: CountTokens = estimate_text) -> Enhanced:
    """A system prompt with the pieces that stay the same from turn to turn.

    `everything` adds the others behind them, for a prompt without a user's turn. `count` counts tokens: of a local
    model, its own tokenizer.
    """
    pieces = context.all_pieces()
    kept, left_out = _fitted(pieces, context.budgets.total, count)
    told = [(piece, text) for piece, text in kept if piece.stable or everything]
    names = {piece.name for piece in pieces if piece.stable or everything}
    ahead = takewhile(lambda each: each[0].stable and each[0].name != MOOD, told)
    return Enhanced(
        text=_joined(system, *(text for _, text in told)),
        stable=_joined(system, *(text for _, text in ahead)),
        left_out=tuple(each for each in left_out if each.piece in names),
        tokens=_tokens(told, count),
    )


def enhance_user(text: str, context: Context, *, count: CountTokens = estimate_text) -> Enhanced:
    """A user's turn with the pieces that change from turn to turn before its words."""
    pieces = context.all_pieces()
    kept, left_out = _fitted(pieces, context.budgets.total, count)
    told = [(piece, said) for piece, said in kept if not piece.stable]
    names = {piece.name for piece in pieces if not piece.stable}
    return Enhanced(
        text=_joined(*(said for _, said in told), text),
        left_out=tuple(each for each in left_out if each.piece in names),
        tokens=_tokens(told, count),
    )


def enhance_messages(
    messages: Sequence[Message | Mapping[str, Any]],
    context: Context,
    *,
    cache: str | None = None,
    count: CountTokens = estimate_text,
) -> EnhancedMessages:
    """A conversation whose system prompt and last user's turn have the context.

    Where no system prompt stands first, one is put there. Earlier turns stay as they are. `cache` marks the end of the
    stable part, as in `Enhanced.system_message`.
    """
    found = [message_from(each, f"messages[{index}]") for index, each in enumerate(messages)]
    first = found.pop(0) if found and found[0].role == "system" else Message("system", "")
    told, turn = enhance(first.text, context, count=count), enhance_user("", context, count=count)
    system: tuple[Message, ...] = ()
    if not isinstance(first.content, str):  # its parts may have marks of their own
        more = enhance("", context, count=count).text
        system = (Message("system", (*first.content, Text("\n\n" + more)) if more else first.content),)
    elif told.text:
        system = (told.system_message(cache),)
    with_turn = before_last_words(found, turn.text)
    return EnhancedMessages((*system, *with_turn), told.left_out + turn.left_out)


def before_last_words(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The conversation with a text before the words of its last user's turn; as it is, where there is none."""
    for index in reversed(range(len(messages))):
        message = messages[index]
        if not text or message.role != "user" or any(isinstance(part, ToolResult) for part in message.parts):
            continue
        content: str | tuple[Any, ...] = message.content
        content = _joined(text, content) if isinstance(content, str) else (Text(text + "\n\n"), *content)
        changed: Message = msgspec.structs.replace(message, content=content)
        return (*messages[:index], changed, *messages[index + 1 :])
    return tuple(messages)


def steps_of(left_out: Sequence[LeftOut]) -> tuple[Step, ...]:
    """What was left out, as steps of a reply."""
    return tuple(Step(kind="left_out", why=str(each)) for each in left_out)


def _fitted(
    pieces: Sequence[ContextPiece], total: int, count: CountTokens
) -> tuple[list[tuple[ContextPiece, str]], list[LeftOut]]:
    """Each piece with as many of its lines as fit its budget and what is left of the total.

    A line that does not fit is left out whole, and a shorter one behind it may still fit.
    """
    kept: list[tuple[ContextPiece, str]] = []
    left_out: list[LeftOut] = []
    before = ""
    for piece in pieces:
        lines: list[Any] = []
        too_small = ""
        for line in piece.lines:
            text = piece.render([*lines, line])
            if count(text) > piece.tokens:
                too_small = f"its budget is {piece.tokens} tokens"
            elif count(_joined(before, text)) > total:
                too_small = f"the budget of all pieces is {total} tokens"
            else:
                lines.append(line)
        if lines:
            text = piece.render(lines)
            kept.append((piece, text))
            before = _joined(before, text)
        if too_small:
            left_out.append(LeftOut(piece.name, len(piece.lines) - len(lines), len(piece.lines), too_small))
    return kept, left_out


def _tokens(told: Sequence[tuple[ContextPiece, str]], count: CountTokens) -> int:
    text = _joined(*(text for _, text in told))
    return count(text) if text else 0


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)
