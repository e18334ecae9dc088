"""Every value goes to JSON and msgpack and back unchanged; bytes that are no value are an error, never a crash."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import values
from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.messages import (
    Chunk,
    LLMRequest,
    LLMResponse,
    Message,
    Part,
    Tool,
    Usage,
    from_json,
    from_msgpack,
    to_json,
    to_msgpack,
)

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (LLMRequest, values.requests),
    (LLMResponse, values.responses),
    (Message, values.messages),
    (Usage, values.usages),
    (Tool, values.tools),
    (Chunk, values.chunks),
    (Part, values.texts | values.images | values.tool_calls | values.tool_results | values.thinking),
]


@pytest.mark.parametrize(("kind", "strategy"), KINDS, ids=lambda kind: getattr(kind, "__name__", None))
@given(data=st.data())
def test_every_value_comes_back_unchanged(kind: Any, strategy: st.SearchStrategy[Any], data: st.DataObject) -> None:
    value = data.draw(strategy)
    assert from_json(kind, to_json(value)) == value
    assert from_msgpack(kind, to_msgpack(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_named_error(data: bytes) -> None:
    for read in (from_json, from_msgpack):
        for kind in (LLMRequest, LLMResponse, Chunk):
            try:
                read(kind, data)  # type: ignore[arg-type]
            except InvalidRequest:
                pass


@given(values.requests, st.data())
def test_cut_or_changed_bytes_are_a_value_or_a_named_error(request_value: LLMRequest, data: st.DataObject) -> None:
    whole = bytearray(to_msgpack(request_value))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes(whole[:place]) + bytes([data.draw(st.integers(0, 255))]) + bytes(whole[place + 1 :])
    for damaged in (bytes(whole[:place]), changed):
        try:
            from_msgpack(LLMRequest, damaged)
        except InvalidRequest:
            pass


def test_a_decoded_request_is_checked_like_a_made_one() -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_json(LLMRequest, b'{"messages": [{"role": "user", "content": "x"}], "temperature": -1}')
    assert caught.value.field == "temperature"


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(ThreeModeError):
        from_json(LLMResponse, b'{"extra": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001)
