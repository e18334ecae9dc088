"""A body of few fields is read by the short way, and means what it means by the long one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.errors import InvalidRequest
from three_mode.serve.surfaces.openai_responses.reading import ResponseQuestion, read_response

SAYS_NOTHING = {"truncation": "disabled"}  # a field that changes nothing, and that the short way does not read
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["tiny", "agent:clerk", "", 7, None]),
    "input": st.sampled_from(["apple", "", [{"role": "user", "content": "pear"}], [], [1], 7, None]),
    "instructions": st.sampled_from(["Be brief.", "", 7, None]),
    "max_output_tokens": st.sampled_from([16, 0, "7", None]),
    "temperature": st.sampled_from([0, 0.5, 3.0, "x", None]),
    "top_p": st.sampled_from([0.5, 2.0, None]),
    "stream": st.sampled_from([True, False, 1, None]),
    "store": st.sampled_from([True, False, "no", None]),
}


def read(body: dict[str, Any]) -> ResponseQuestion | tuple[str, str | None]:
    try:
        return read_response(json.dumps(body).encode(), 5.0, 100)
    except InvalidRequest as error:
        return str(error), error.field


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_both_ways_read_the_same(body: dict[str, Any]) -> None:
    assert read(body) == read(body | SAYS_NOTHING)


@pytest.mark.parametrize("name", ["tools", "metadata", "n", "unknown"])
def test_other_fields_go_the_long_way(name: str) -> None:
    value: Any = {"tools": [], "metadata": {"a": "b"}, "n": 1, "unknown": "x"}[name]
    found = read({"model": "tiny", "input": "apple", name: value})
    assert isinstance(found, ResponseQuestion)
    assert found.request.extra == ({"unknown": "x"} if name == "unknown" else {})
