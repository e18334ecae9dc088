"""Rounds of a turn with tools, as the log keeps them. Pure.

    SAID   ROUND: the call   ROUND: its results   ROUND: the call   ROUND: its results   ANSWERED
                         │                   │
                         │                   └─ a crash here: the model goes on from the results
                         └─ a crash here: nobody knows whether the tools ran, and the model is told so

A call is written before its tools run, and its results before the model is asked again: no tool runs unseen.
"""

from collections.abc import Sequence

from three_mode.messages import Message, ToolCall, ToolResult

UNKNOWN = "No result: the program ended or left while this call ran. It may have run, or not; nobody knows."


def calls_of(message: Message) -> tuple[ToolCall, ...]:
    """The calls of tools in a message."""
    content = message.content
    return () if isinstance(content, str) else tuple(part for part in content if isinstance(part, ToolCall))


def is_waiting(messages: Sequence[Message]) -> bool:
    """Whether the last message calls tools whose results are not there."""
    return bool(messages) and messages[-1].role == "assistant" and bool(calls_of(messages[-1]))


def gone_on(kept: tuple[Message, ...], more: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages of a turn, and those of its next row.

    A message of the model takes the place of one that waits for its results: the run gave its calls other ids. Results
    that nothing waits for are those of a call that has them already.
    """
    if is_waiting(kept):
        return kept[:-1] + more if more and more[0].role == "assistant" else kept + more
    begin = 0
    while begin < len(more) and more[begin].role == "tool":
        begin += 1
    return kept + more[begin:]


def whole(kept: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages without a call whose results are not there."""
    return kept[:-1] if is_waiting(kept) else kept


def unknown_results(kept: tuple[Message, ...]) -> tuple[Message, ...]:
    """What the model is told in the place of results that never came; nothing where none are missing."""
    if not is_waiting(kept):
        return ()
    parts = tuple(ToolResult(call.id, UNKNOWN, name=call.name, is_error=True) for call in calls_of(kept[-1]))
    return (Message("tool", parts),)


def ending(kept: tuple[Message, ...], why: str) -> tuple[Message, ...]:
    """What ends a turn that goes no further: results for each call, and words in the place of the answer, since some
    models want one before the next question."""
    return (*unknown_results(kept), Message("assistant", f"[The turn ended here without an answer: {why}.]"))
