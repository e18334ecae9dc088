"""Targets with faults that were planted, by which the tests see that the fuzzer and its bounds find some."""

import msgspec

from tests.fuzz.target import Target


def deep(data: bytes) -> None:
    """Raises for five bytes that a chance alone does not meet in hours: each is a branch of its own."""
    word = b"frame"
    for place, byte in enumerate(word):
        if data[place : place + 1] != bytes((byte,)):
            return
    raise ValueError("the planted fault")


def field(data: bytes) -> None:
    """Raises for a value of another type in a field of JSON."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(value, dict) and isinstance(value.get("model"), str):
        assert isinstance(value.get("messages", []), list)


def loops(data: bytes) -> None:
    """Never ends for an input that begins with a zero."""
    while data[:1] == b"\0":
        pass


def hoards(data: bytes) -> None:
    """Takes as much memory as four bytes say."""
    bytes(int.from_bytes(data[:4], "little"))


DEEP = Target(name="tests.fuzz.planted:DEEP", run=deep, longest=32)
FIELD = Target(name="tests.fuzz.planted:FIELD", run=field, shape="json")
LOOPS = Target(name="tests.fuzz.planted:LOOPS", run=loops)
HOARDS = Target(name="tests.fuzz.planted:HOARDS", run=hoards)
