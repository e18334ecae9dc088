"""Plain data arrives as it went; the native check and the one without a compiler agree."""

from collections import OrderedDict
from datetime import datetime
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.bus import is_plain
from transports.bus.plain import is_plain_slowly

Level = IntEnum("Level", "LOW")
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.just(())
    | st.frozensets(st.integers(0, 9))
)
_KEYS = st.text() | st.integers(0, 99) | st.tuples(st.text())
VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner) | st.tuples(inner))


@given(VALUES)
def test_plain_data_arrives_as_it_went(value: Any) -> None:
    assert is_plain(value) is is_plain_slowly(value)
    if is_plain(value):
        came = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
        assert came == value
        assert repr(came) == repr(value)  # a tuple in it would be a list


@pytest.mark.parametrize(
    "value",
    [(), {1}, datetime(2026, 1, 1), bytearray(), OrderedDict(), Level.LOW, [1, [(2,)]], {"a": {"b": {3}}}, {(1,): 2}],
    ids=repr,
)
def test_what_is_not_plain(value: Any) -> None:
    assert is_plain(value) is is_plain_slowly(value) is False


def test_a_value_without_an_end_is_not_plain() -> None:
    endless: list[Any] = []
    endless.append({"again": endless})
    assert is_plain(endless) is is_plain_slowly(endless) is False
