"""The native decoder says what msgspec says, of whatever bytes there are, and refuses nothing itself."""

import struct
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from transports.bus._ring import unpacker
from transports.bus.frames import decode_payload

_msgspec = msgspec.msgpack.Decoder().decode


class Behind:
    """msgspec, with a count of how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, body: bytes) -> Any:
        self.asked += 1
        return _msgspec(body)


def outcome(decode: Any, body: bytes) -> str:
    """The value with its types (NaN included), or the error in its words."""
    try:
        return repr(decode(body))
    except Exception as error:  # noqa: BLE001 - whatever it is: it must be the same
        return f"{type(error).__name__}: {error}"


def both_say(body: bytes) -> str:
    said = outcome(unpacker(_msgspec), body)
    assert said == outcome(_msgspec, body)
    return said


LEAVES = (
    some.none()
    | some.booleans()
    | some.integers(-(2**63), 2**64 - 1)
    | some.floats()
    | some.text()
    | some.binary()
    | some.datetimes(timezones=some.timezones())
)
VALUES = some.recursive(
    LEAVES,
    lambda inner: (
        some.lists(inner) | some.dictionaries(some.text() | some.integers(0, 9), inner, max_size=20)
    ),
    max_leaves=40,
)


@given(VALUES)
def test_values_come_back_as_msgspec_has_them(value: Any) -> None:
    both_say(msgspec.msgpack.encode(value))


@given(VALUES, some.data())
def test_a_body_that_is_cut_or_spoiled_is_told_as_msgspec_tells_it(value: Any, data: some.DataObject) -> None:
    body = bytearray(msgspec.msgpack.encode(value))
    for _ in range(data.draw(some.integers(1, 4))):
        body[data.draw(some.integers(0, len(body) - 1))] = data.draw(some.integers(0, 255))
    both_say(bytes(body))
    both_say(bytes(body[: data.draw(some.integers(0, len(body)))]))
    both_say(bytes(body) + b"\x00")


@given(some.binary(max_size=60))
@example(b"")
@example(b"\xc1")
@example(b"\x91" * 100_000 + b"\xc0")
@example(b"\x81" * 40 + b"\xc0")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff\xa1a")
@example(b"\xc6\xff\xff\xff\xff" + b"x" * 10)
@example(b"\xdb\x00\x00\x00\x01\xff")
@example(b"\x82\xa1\xff\x01\xa1b\x02")
@example(b"\x81\xa0\x01")
@example(b"\x82\xa1a\x01\xa1a\x02")
def test_any_bytes_at_all(body: bytes) -> None:
    both_say(body)


# The long forms, which msgspec reads but writes only where it must.
@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xca" + struct.pack(">f", 1.5), 1.5),
        (b"\xcb" + struct.pack(">d", -0.0), -0.0),
        (b"\xcc\x05", 5),
        (b"\xcd\x00\x05", 5),
        (b"\xce\xff\xff\xff\xff", 2**32 - 1),
        (b"\xcf" + b"\xff" * 8, 2**64 - 1),
        (b"\xd0\x80", -128),
        (b"\xd1\xff\xfe", -2),
        (b"\xd2\x80\x00\x00\x00", -(2**31)),
        (b"\xd3\x80" + b"\x00" * 7, -(2**63)),
        (b"\xd9\x01a", "a"),
        (b"\xda\x00\x02\xc3\xa9", "\u00e9"),
        (b"\xdb\x00\x00\x00\x01a", "a"),
        (b"\xc5\x00\x01\xff", b"\xff"),
        (b"\xdc\x00\x01\xc3", [True]),
        (b"\xdd\x00\x00\x00\x02\xc0\xc2", [None, False]),
        (b"\xde\x00\x01\xd9\x01k\x7f", {"k": 127}),
        (b"\xdf\x00\x00\x00\x01\xa1k\xe0", {"k": -32}),
    ],
)
def test_every_form_of_a_number_a_text_and_a_list_is_known(body: bytes, value: Any) -> None:
    behind = Behind()
    assert repr(unpacker(behind)(body)) == repr(value) == repr(_msgspec(body))
    assert behind.asked == 0


def test_keys_that_share_a_place_or_an_order_do_not_get_mixed_up() -> None:
    """Far more keys than are kept, in maps of every order, of any length."""
    behind = Behind()
    unpack = unpacker(behind)
    for n in range(3000):
        names = [f"k{n % 700}", "x" * (n % 60 + 1), f"{n}", "last", "\u00e9" * (n % 25)]
        value = {name: dict.fromkeys(names[n % 3 :], n) for name in names[n % 5 :] + names[: n % 5]}
        found = unpack(msgspec.msgpack.encode(value))
        assert found == value
        assert list(found) == list(value)
    assert behind.asked == 0


def test_what_it_does_not_know_is_left_whole_to_whoever_stands_behind() -> None:
    asked: list[bytes] = []
    unpack = unpacker(lambda body: asked.append(body))  # type: ignore[func-returns-value]
    bodies = [b"\xc7\x01\x05x", b"\x81\x01\x02", b"\x92\x01", b"\x01\x01"]
    assert [unpack(body) for body in bodies] == [None] * len(bodies)
    assert asked == bodies
    assert unpacker(_msgspec)(memoryview(b"\x01")) == 1  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        unpacker(None)  # type: ignore[arg-type]


def test_threads_share_the_kept_keys() -> None:
    values = [{f"{thread}-{n}": n for n in range(200)} for thread in range(4)]
    wrong: list[Any] = []

    def decode(value: Any) -> None:
        body = msgspec.msgpack.encode(value)
        wrong.extend(1 for _ in range(200) if decode_payload(body) != value)

    threads = [threading.Thread(target=decode, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
