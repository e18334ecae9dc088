"""Requests that fit: with tools beside the messages, by estimates or exact counts, and tighter after a refusal."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.conversations import Window
from three_mode.conversations.fitting import Fitting, Measure
from three_mode.conversations.window import WindowItem
from three_mode.errors import ContextLength
from three_mode.messages import LLMRequest, Message, Tool

REQUEST = LLMRequest(messages=[{"role": "user", "content": "now"}])


class Characters:
    """A tokenizer for which each character is a token, and an exact count that is `share` of that; None: there is
    none."""

    def __init__(self, share: float | None = None) -> None:
        self._share = share

    async def counts(self, messages: Sequence[Message]) -> list[int]:
        return [len(message.text) for message in messages]

    async def beside(self, tools: Sequence[Tool]) -> int:
        return sum(len(tool.description) for tool in tools)

    async def total(self, request: LLMRequest) -> int | None:
        if self._share is None:
            return None
        return int(sum(await self.counts(request.messages)) * self._share)

    async def limit(self, tokens: int, answer: int | None) -> int:
        return tokens


def items(sizes: Sequence[int]) -> list[WindowItem]:
    texts = [f"{number:02}".ljust(size, ".") for number, size in enumerate(sizes)]
    roles = ("user", "assistant")
    found = [WindowItem(Message(roles[n % 2], text), len(text)) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    return [*found, WindowItem(Message("user", "now"), 3, True)]


def fitting(sizes: Sequence[int], limit: int, beside: int = 0, share: float | None = None) -> Fitting:
    return Fitting(
        [], items(sizes), limit=limit, beside=beside, window=Window(), counter=Characters(share), measure=Measure()
    )


SIZES = st.lists(st.integers(2, 60), max_size=20)


@given(SIZES, st.integers(1, 500), st.integers(0, 500), st.none() | st.floats(0.2, 5))
async def test_nothing_that_is_shown_exceeds_the_limit(
    sizes: list[int], limit: int, beside: int, share: float | None
) -> None:
    try:
        shown = await fitting(sizes, limit, beside, share).shown(REQUEST)
    except ContextLength:
        assert share is not None or beside + 3 > limit
        return
    texts = [message.text.replace("\n\n", "") for message in shown.request.messages]  # neighbours are joined by it
    assert texts[-1].endswith("now")
    if share is None:
        assert shown.tokens <= limit
        assert shown.tokens >= sum(map(len, texts))
    else:
        assert await Characters(share).total(shown.request) <= limit  # type: ignore[operator]


@given(
    SIZES,
    st.integers(3, 800),
    st.lists(st.tuples(st.none() | st.integers(-5, 3000), st.none() | st.integers(-5, 3000)), min_size=1, max_size=5),
)
async def test_each_refusal_makes_it_tighter_or_ends_it(
    sizes: list[int], limit: int, said: list[tuple[int | None, int | None]]
) -> None:
    fit = fitting(sizes, limit)
    shown = await fit.shown(REQUEST)
    for sent, room in said:
        fit.tighten(shown, ContextLength("too long", tokens=sent, room=room))
        again = await fit.again(REQUEST)
        assert again.tokens <= shown.tokens
        assert again.request.messages[-1].text.endswith("now"), "what is said now is never left out"
        shown = again


async def test_the_numbers_of_a_refusal_are_used() -> None:
    fit = fitting([50] * 20, 1003)
    shown = await fit.shown(REQUEST)
    assert shown.tokens == 1003
    fit.tighten(shown, ContextLength("too long", tokens=4000, room=2000))
    again = await fit.again(REQUEST)
    assert 250 < again.tokens <= 501, "twice too many: half of it, and a quarter of the window is made free at once"


async def test_tokens_of_the_answer_in_a_refusal_are_not_the_prompts() -> None:
    fit = fitting([50] * 20, 1003)
    shown = await fit.shown(REQUEST)
    # 1,003 of the prompt and 997 of the answer, in a context of 1,500: the prompt has to lose 500.
    fit.tighten(shown, ContextLength("too long", tokens=2000, room=1500))
    assert (await fit.again(REQUEST)).tokens <= 503


@pytest.mark.parametrize("more", [0, 1, 3])
async def test_what_came_in_this_turn_stays(more: int) -> None:
    fit = fitting([50] * 10, 300)
    came = tuple(Message("assistant", f"round {number}".ljust(40, ".")) for number in range(more))
    shown = await fit.shown(REQUEST, came)
    assert shown.request.messages[len(shown.request.messages) - more :] == came
    assert shown.tokens <= 300
