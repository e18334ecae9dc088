"""The window: what is shown of a conversation, whatever it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.conversations import Window
from three_mode.conversations.window import WindowItem, WindowView, fit
from three_mode.errors import ConfigurationError, ContextLength, InvalidRequest
from three_mode.messages import Message, Part, Text, ToolCall, ToolResult

SYSTEM = WindowItem(Message("system", "Be brief."), 5)


def user(text: str, tokens: int = 10, stays: bool = False) -> WindowItem:
    return WindowItem(Message("user", text), tokens, stays)


def answer(text: str, tokens: int = 10) -> WindowItem:
    return WindowItem(Message("assistant", text), tokens)


def calling(*ids: str, tokens: int = 10) -> WindowItem:
    return WindowItem(Message("assistant", tuple(ToolCall(each, "look") for each in ids)), tokens)


def results(*ids: str, tokens: int = 10) -> WindowItem:
    return WindowItem(Message("tool", tuple(ToolResult(each, "seen") for each in ids)), tokens)


def texts(view: WindowView) -> list[str]:
    return [message.text for message in view.messages]


def test_all_of_a_short_conversation_is_shown_as_it_is() -> None:
    items = [user("a"), calling("1"), results("1"), answer("b"), user("c")]
    view = fit([SYSTEM], items, 100)
    assert view.messages == (SYSTEM.message, *(item.message for item in items))
    assert (view.tokens, view.left_out) == (55, 0)


def test_the_oldest_go_first_and_the_window_begins_with_a_question() -> None:
    items = [user("a"), answer("b"), user("c"), answer("d"), user("e")]
    assert texts(fit([SYSTEM], items, 5 + 40)) == ["Be brief.", "c", "d", "e"], "an answer without its question"
    assert texts(fit([SYSTEM], items, 5 + 50)) == ["Be brief.", "a", "b", "c", "d", "e"]
    assert texts(fit([SYSTEM], items, 5 + 29)) == ["Be brief.", "e"]
    assert fit([SYSTEM], items, 5 + 29).left_out == 4


def test_a_number_of_messages_is_a_limit_too() -> None:
    items = [user("a"), answer("b"), user("c"), answer("d"), user("e")]
    assert texts(fit([SYSTEM], items, 1000, most=3)) == ["Be brief.", "c", "d", "e"]
    assert texts(fit([SYSTEM], items, 1000, most=1)) == ["Be brief.", "e"]


def test_a_call_and_its_results_go_together() -> None:
    items = [user("a"), calling("1", "2"), results("1"), results("2"), answer("b"), user("c")]
    for tokens in range(15, 70):
        shown = fit([SYSTEM], items, tokens).messages
        calls = sum(isinstance(part, ToolCall) for message in shown for part in message.parts)
        answers = sum(isinstance(part, ToolResult) for message in shown for part in message.parts)
        assert calls == answers


def test_what_is_said_now_may_be_results_and_keeps_its_call() -> None:
    items = [user("a"), calling("1"), results("1")]
    assert len(fit([], items, 20).messages) == 2
    with pytest.raises(ContextLength, match="has to stay is 20 tokens"):
        fit([], items, 19)


def test_a_call_that_nobody_answered_is_not_shown() -> None:
    view = fit([], [user("a"), calling("1"), user("b"), answer("c"), user("d")], 100)
    assert texts(view) == ["a\n\nb", "c", "d"], "what became neighbours is one message"
    assert view.left_out == 1
    assert fit([], [results("9"), user("a")], 100).left_out == 1, "and no result without its call"


@pytest.mark.parametrize("said", [results("9"), results("1")])
def test_results_that_match_no_call_are_refused(said: WindowItem) -> None:
    with pytest.raises(InvalidRequest, match="do not match"):
        fit([], [user("a"), calling("1", "2"), said], 100)


def test_ids_may_come_again_in_a_later_turn() -> None:
    items = [user("a"), calling("1"), results("1"), user("b"), calling("1"), results("1"), user("c")]
    assert fit([], items, 100).left_out == 0
    assert [message.role for message in fit([], items, 45).messages] == ["user", "assistant", "tool", "user"]


def test_first_and_pinned_messages_stay_in_their_order() -> None:
    items = [user("first"), answer("b"), user("pinned", stays=True), answer("d"), user("e"), answer("f"), user("now")]
    assert texts(fit([SYSTEM], items, 5 + 30, first=1)) == ["Be brief.", "first\n\npinned\n\nnow"]
    assert texts(fit([SYSTEM], items, 5 + 50, first=1)) == ["Be brief.", "first\n\npinned\n\ne", "f", "now"]
    with pytest.raises(ContextLength, match="pin less"):
        fit([SYSTEM], items, 5 + 29, first=1)


def test_neighbours_with_parts_keep_them() -> None:
    picture = WindowItem(Message("user", (Text("x"), Text("y"))), 1)
    assert fit([], [picture, user("z")], 100).messages == (Message("user", (Text("x"), Text("y"), Text("z"))),)
    named = WindowItem(Message("user", "x", name="Bob"), 1)
    assert len(fit([], [named, user("z")], 100).messages) == 2, "another speaker"


@pytest.mark.parametrize("field", ["tokens", "messages", "keep_first", "compact_at", "margin"])
def test_a_window_that_can_show_nothing_is_refused(field: str) -> None:
    with pytest.raises(ConfigurationError):
        Window(**{field: -1 if field in ("keep_first", "margin") else 0})  # type: ignore[arg-type]


some_ids = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)
pieces = st.one_of(
    st.builds(lambda n, t, s: user(str(n), t, s), st.integers(0, 99), st.integers(1, 40), st.booleans()),
    st.builds(lambda n, t: answer(str(n), t), st.integers(0, 99), st.integers(1, 40)),
    st.builds(lambda some, t: calling(*some, tokens=t), some_ids, st.integers(1, 40)),
    st.builds(lambda some, t: results(*some, tokens=t), some_ids, st.integers(1, 40)),
)


@given(st.lists(pieces, max_size=25), st.integers(1, 400), st.none() | st.integers(1, 12), st.integers(0, 4))
def test_no_window_breaks_its_promises(items: list[WindowItem], tokens: int, most: int | None, first: int) -> None:
    items = [*items, user("now", 3)]
    # Numbered, so that order and identity can be told from the messages themselves.
    items = [item._replace(message=_numbered(item.message, number)) for number, item in enumerate(items)]
    try:
        view = fit([SYSTEM], items, tokens, most, first)
    except ContextLength:
        staying = sum(item.tokens for item in items if item.stays or item is items[-1])
        assert first or staying + 5 > tokens or any(item.stays for item in items)
        return
    assert view.tokens <= tokens
    assert view.messages[0] == SYSTEM.message
    parts = [part for message in view.messages[1:] for part in message.parts]
    numbers = [_number(part) for part in parts]
    assert numbers == sorted(numbers), "order"
    assert numbers[-1] == len(items) - 1, "what is being said now"
    asked: list[str] = []
    for part in parts:
        if isinstance(part, ToolCall):
            assert part.id not in asked
            asked.append(part.id)
        elif isinstance(part, ToolResult):
            assert part.call_id in asked, "a result without its call"
            asked.remove(part.call_id)
    assert not asked, "a call without its result"
    if most is not None and not first and not any(item.stays for item in items):
        assert len(items) - view.left_out <= max(most, 1)


def _number(part: Part) -> int:
    assert isinstance(part, Text | ToolCall | ToolResult)
    return int(((part.text if isinstance(part, Text) else part.name) or "").split("#")[1])


def _numbered(message: Message, number: int) -> Message:
    if isinstance(message.content, str):
        return Message(message.role, (Text(f"{message.content}#{number}"),))
    parts = []
    for part in message.content:
        if isinstance(part, ToolCall):
            parts.append(ToolCall(part.id, f"look#{number}"))
        else:
            assert isinstance(part, ToolResult)
            parts.append(ToolResult(part.call_id, "", name=f"look#{number}"))
    return Message(message.role, tuple(parts))
