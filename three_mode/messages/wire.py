"""Encoding of values and errors to JSON or msgpack, and decoding back to equal ones.

Bytes that do not fit the type are an `InvalidRequest` that names the field: they came from another process.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

import msgspec

from three_mode import errors
from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.messages.plain import converted
from three_mode.messages.reply import LLMResponse

T = TypeVar("T")

#: Encodes any value of this package as JSON.
to_json: Callable[[Any], bytes] = msgspec.json.encode
#: Encodes any value of this package as msgpack.
to_msgpack: Callable[[Any], bytes] = msgspec.msgpack.encode


def from_json(kind: type[T], data: bytes | str) -> T:
    """Decodes a value of type `kind`, which may be a union such as `Chunk` or `Part`, from JSON."""
    decoded: T = _decoded(_json_decoder(kind), data)  # type: ignore[arg-type]  # types are hashable
    return decoded


def from_msgpack(kind: type[T], data: bytes) -> T:
    """Decodes a value of type `kind`, which may be a union such as `Chunk` or `Part`, from msgpack."""
    decoded: T = _decoded(_msgpack_decoder(kind), data)  # type: ignore[arg-type]
    return decoded


@cache
def _json_decoder(kind: Any) -> Callable[[bytes | str], Any]:
    return msgspec.json.Decoder(kind).decode


@cache
def _msgpack_decoder(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(kind).decode


def _decoded(decode: Callable[[Any], Any], data: bytes | str) -> Any:
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidRequest):
            raise error.__cause__ from None
        message, _, path = str(error).partition(" - at ")
        raise InvalidRequest(message, field=path.strip("`").removeprefix("$").removeprefix(".") or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"not a message: {error}") from None


def encode_error(error: ThreeModeError) -> dict[str, Any]:
    """Encodes an error as plain data, from which `decode_error` makes the same class with the same fields.

    `kind` lists the class and its ancestors: an older peer that does not know the class uses the nearest ancestor it
    knows.
    """
    content: dict[str, Any] = {}
    for item in fields(error):
        value = getattr(error, item.name)
        if value is None or item.name == "message":
            continue
        if item.name == "causes":
            value = [encode_error(cause) for cause in value]
        elif item.name == "partial":
            value = msgspec.to_builtins(value)
        content[item.name] = value
    return {
        "kind": [kind.__name__ for kind in _ancestry(type(error))],
        "message": error.message,
        "fields": content,
    }


def decode_error(data: Any) -> ThreeModeError:
    """Decodes the error that `encode_error` encoded. Data that is no such error gives a plain `ThreeModeError`."""
    try:
        kind = next((_known()[name] for name in data["kind"] if name in _known()), ThreeModeError)
        names = {item.name for item in fields(kind)}
        given = {name: value for name, value in data["fields"].items() if name in names}
        if "causes" in given:
            given["causes"] = tuple(decode_error(cause) for cause in given["causes"])
        if "candidates" in given:
            given["candidates"] = tuple(map(str, given["candidates"]))
        if "partial" in given:
            given["partial"] = converted(given["partial"], LLMResponse, "partial")
        return kind(str(data["message"]), **given)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        return ThreeModeError(f"an error arrived that cannot be read: {type(error).__name__}")


def _ancestry(kind: type[ThreeModeError]) -> Iterator[type[ThreeModeError]]:
    return (ancestor for ancestor in kind.__mro__ if issubclass(ancestor, ThreeModeError))


@cache
def _known() -> dict[str, type[ThreeModeError]]:
    return {name: getattr(errors, name) for name in errors.__all__}
