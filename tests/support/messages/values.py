"""Hypothesis strategies for every value of `three_mode.messages`."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from three_mode.messages import (
    CacheHints,
    Finish,
    Image,
    LLMRequest,
    LLMResponse,
    Message,
    Reasoning,
    ResponseFormat,
    Start,
    Step,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
    UsageUpdate,
)
from three_mode.modes import CommunicationMode

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10).filter(str.strip)
maybe_words = st.none() | words
counts = st.integers(0, 2**40)
seconds = st.floats(0, 1e6, allow_nan=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)

texts = st.builds(Text, words, st.sampled_from([None, "5m", "1h"]))
images = st.one_of(
    st.builds(Image, url=names.map(lambda name: f"https://{name}")),
    st.builds(Image, data=st.binary(max_size=20), mime=st.just("image/png"), detail=maybe_words),
)
tool_calls = st.builds(ToolCall, names, names, json_objects, maybe_words, maybe_words)
tool_results = st.builds(
    ToolResult, names, words | st.lists(texts | images, max_size=2).map(tuple), maybe_words, st.booleans()
)
thinking = st.builds(Thinking, words, maybe_words, maybe_words, maybe_words)


def _message(role: str, parts: st.SearchStrategy[object], plain: bool = True) -> st.SearchStrategy[Message]:
    content = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.builds(Message, st.just(role), content | words if plain else content, maybe_words)


messages = st.one_of(
    _message("system", texts),
    _message("user", texts | images | tool_results),
    _message("assistant", texts | images | tool_calls | thinking),
    _message("tool", tool_results, plain=False),
)
tools = st.builds(Tool, names, words, json_objects, st.none() | st.booleans(), st.sampled_from([None, "1h"]))
requests = st.builds(
    LLMRequest,
    messages=st.lists(messages, min_size=1, max_size=4),
    model=st.none() | names,
    mode=st.none() | st.sampled_from(CommunicationMode),
    tools=st.lists(tools, max_size=2),
    response_format=st.none() | st.builds(ResponseFormat, st.none() | json_objects, names, st.booleans()),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 10**6),
    stop=st.lists(names, max_size=2),
    seed=st.none() | st.integers(-(2**31), 2**31),
    reasoning=st.none() | st.builds(Reasoning, maybe_words, st.none() | counts),
    cache=st.none() | st.builds(CacheHints, maybe_words, st.sampled_from(["default", "skip", "refresh"])),
    within=st.none() | st.floats(0.001, 1e6),
    metadata=json_objects,
    extra=json_objects,
)
usages = st.builds(
    Usage, counts, counts, counts, counts, counts, st.none() | st.decimals(0, 1000, allow_nan=False, places=6)
)
steps = st.builds(
    Step, st.sampled_from(["attempt", "retry", "switched"]), seconds, maybe_words, maybe_words, maybe_words
)
reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
moments = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
responses = st.builds(
    LLMResponse,
    parts=st.lists(texts | tool_calls | thinking, max_size=4).map(tuple),
    model=words,
    provider=words,
    mode=st.sampled_from(CommunicationMode),
    usage=usages,
    finish_reason=reasons,
    latency=seconds,
    request_id=words,
    created_at=moments,
    steps=st.lists(steps, max_size=2).map(tuple),
    extra=json_objects,
)
chunks = st.one_of(
    st.builds(Start, words, words, st.sampled_from(CommunicationMode), words, st.none() | moments),
    st.builds(TextDelta, words, st.integers(0, 3)),
    st.builds(ThinkingDelta, words, maybe_words, maybe_words, maybe_words, st.integers(0, 3)),
    st.builds(ToolDelta, st.integers(0, 3), maybe_words, maybe_words, words, maybe_words),
    st.builds(UsageUpdate, usages),
    st.builds(Finish, reasons, seconds, st.lists(steps, max_size=2).map(tuple), json_objects),
)
