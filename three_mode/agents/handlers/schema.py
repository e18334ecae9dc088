"""Schema of a handler, made of its type hints: how a call is encoded, and checked where it arrives.

On the wire a call is a msgpack array of its arguments in order, or a map when the caller only knew names. Dataclasses,
enums, structs, paths and models of pydantic are decoded through the hints; without a hint they arrive as plain data.
Tuples, sets and times that no hint speaks of are marked where they are encoded, so that they arrive as what they are.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from three_mode.agents.handlers.codec import UNENCODABLE, decode_marked, decoder_for, encode, encode_exact
from three_mode.agents.handlers.extensions import exact, is_open
from three_mode.errors import BadCall, ConfigurationError

Values = Callable[[bytes | memoryview], tuple[Any, ...]]
RESERVED = "within"  # the deadline of a call, a keyword of every verb
_EXPECTED = re.compile(r"^Expected `(?P<wanted>.*?)`(?:, got `(?P<got>.*)`)?$")


@dataclass(frozen=True)
class Parameter:
    """Parameter of a handler, without `self`."""

    name: str
    hint: Any
    default: Any = inspect.Parameter.empty
    keyword_only: bool = False

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Where:
    """Agent and handler that an error is about."""

    agent: str
    handler: str

    def __str__(self) -> str:
        return f"{self.agent}.{self.handler}"


class Schema:
    """Parameters and result of one handler or `__init__`, with their compiled decoders."""

    __slots__ = (
        "_array_type",
        "_by_name",
        "_keywords",
        "_map_type",
        "_open",
        "all_by_order",
        "as_array",
        "by_order",
        "encode_args",
        "least",
        "most",
        "open_result",
        "parameters",
        "result",
        "title",
    )

    def __init__(self, title: str, parameters: tuple[Parameter, ...], result: Any) -> None:
        self.title, self.parameters = title, parameters
        self.most = len(parameters)
        self.least = sum(1 for parameter in parameters if parameter.required)
        self._keywords = tuple(parameter.name for parameter in parameters if parameter.keyword_only)
        fields = [_field(parameter) for parameter in parameters]
        self._open = frozenset(parameter.name for parameter in parameters if is_open(parameter.hint))
        # Encoder of arguments by order: the C function itself where the hints say all.
        self.encode_args: Callable[[tuple[Any, ...]], bytes] = self._encode_open if self._open else encode
        self._array_type, self.by_order = _by_order(title, parameters, fields)
        self.all_by_order = not self._keywords and self.most < 16
        self.as_array = bytes((0x90 + self.most % 16,))  # first byte of a msgpack array of all of them
        self._map_type = _arguments(title, fields, array_like=False)
        by_name = decoder_for(self._map_type)
        self._by_name: Values = lambda raw: msgspec.structs.astuple(by_name(raw))
        result = Any if result is None or result is inspect.Signature.empty else result
        self.result = decoder_for(result)
        self.open_result = is_open(result)
        """Whether the hint of the result leaves its type to the value: such a result is encoded as `exact` says."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Schema":
        """Make the schema of a method, or say what about its signature cannot travel."""
        title = function.__qualname__
        hints = _hints(function, title)
        parameters = []
        for parameter in list(inspect.signature(function).parameters.values())[1:]:  # without self
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigurationError(
                    f"{title} takes *{parameter.name}: a handler's parameters have names",
                    hint="list them, or take one dict",
                )
            if parameter.name == RESERVED:
                raise ConfigurationError(
                    f"{title} has a parameter {RESERVED!r}, which every call uses for its deadline",
                    hint="rename it",
                )
            hint = hints.get(parameter.name, Any)
            parameters.append(
                Parameter(parameter.name, hint, parameter.default, parameter.kind is parameter.KEYWORD_ONLY)
            )
        result = hints.get("return", Any)
        if inspect.isasyncgenfunction(function):
            result = next(iter(getattr(result, "__args__", ())), Any)
        return cls(title, tuple(parameters), result)

    # the caller's side ------------------------------------------------------------------------------------------------
    def encode_call(self, agent: str, handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Encode a call; raise BadCall for arguments that do not fit the signature, or that cannot travel."""
        if kwargs or not self.least <= len(args) <= self.most:
            args, kwargs = self._ordered(Where(agent, handler), args, kwargs)
        try:
            if kwargs:
                return encode({name: self._marked(name, value) for name, value in kwargs.items()})
            return self.encode_args(args)
        except UNENCODABLE as error:
            raise self._not_encodable(Where(agent, handler), args, kwargs, error) from None

    def _encode_open(self, args: tuple[Any, ...]) -> bytes:
        return encode(
            [self._marked(parameter.name, value) for parameter, value in zip(self.parameters, args, strict=False)]
        )

    def _marked(self, name: str, value: Any) -> Any:
        """Return an argument with its tuples and the like marked, where its hint does not speak of them."""
        return exact(value) if name in self._open else value

    def _ordered(
        self, where: Where, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return all arguments by order where that is possible, else all by name."""
        if len(args) > self.most:
            raise _bad(where, None, f"takes {self.most} arguments, not {len(args)}", self._example())
        values = {parameter.name: value for parameter, value in zip(self.parameters, args, strict=False)}
        known = {parameter.name for parameter in self.parameters}
        for name, value in kwargs.items():
            if name not in known:
                raise _bad(where, name, "is no parameter of it", self._example())
            if name in values:
                raise _bad(where, name, "was given twice", None)
            values[name] = value
        for parameter in self.parameters:
            if parameter.required and parameter.name not in values:
                raise _bad(where, parameter.name, f"is missing (expected {_shown(parameter.hint)})", self._example())
        first = self.parameters[: len(values)]
        if all(parameter.name in values for parameter in first):
            return tuple(values[parameter.name] for parameter in first), {}
        return (), values

    def _not_encodable(self, where: Where, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> BadCall:
        pairs = list(kwargs.items()) or list(zip((parameter.name for parameter in self.parameters), args, strict=False))
        for name, value in pairs:
            try:
                encode_exact(value)
            except UNENCODABLE as reason:
                return _bad(
                    where,
                    name,
                    f"cannot be sent: {reason}",
                    "send data: numbers, text, lists, dicts, dataclasses",
                )
        return _bad(where, None, f"cannot be sent: {error}", None)

    # the receiver's side ----------------------------------------------------------------------------------------------
    def decode_call(self, agent: str, handler: str, raw: bytes | memoryview) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments as the method takes them; raise BadCall with the name of one that does not fit."""
        try:
            by_order = raw[0] & 0xF0 == 0x90 or raw[0] in (0xDC, 0xDD)
            values = self.by_order(raw) if by_order else self._by_name(raw)
        except msgspec.ValidationError as error:
            values = self._decode_marked(Where(agent, handler), raw, by_order, error)
        except (msgspec.DecodeError, IndexError, UnicodeDecodeError, RecursionError) as error:
            raise _bad(Where(agent, handler), None, f"the call cannot be read: {error}", None) from None
        except Exception as error:  # noqa: BLE001  # a hint's own hook (a __post_init__, say) refused the value
            raise _bad(Where(agent, handler), None, f"{type(error).__name__}: {error}", self._example()) from None
        if not self._keywords:
            return values, {}
        cut = self.most - len(self._keywords)
        return values[:cut], dict(zip(self._keywords, values[cut:], strict=True))

    def _decode_marked(self, where: Where, raw: bytes | memoryview, by_order: bool, error: Exception) -> Any:
        """Decode a call whose sender had no hints, and marked tuples and the like; raise BadCall if it does not fit."""
        try:
            values = decode_marked(self._array_type if by_order else self._map_type, raw, error)
        except (ValueError, TypeError) as still:
            raise self._misfit(where, str(still)) from None
        return values if isinstance(values, tuple) else msgspec.structs.astuple(values)

    def _misfit(self, where: Where, error: str) -> BadCall:
        """Return the error of a decoder with the name of the argument in place of its path."""
        what, _, path = error.partition(" - at ")
        path = path.strip("`").removeprefix("$")
        argument, inside = None, ""
        if path.startswith("["):
            number, _, inside = path[1:].partition("]")
            if number.isdigit():
                argument = self.parameters[int(number)].name
        elif path.startswith("."):
            argument, inside = re.match(r"\.(\w+)(.*)", path).groups()  # type: ignore[union-attr]
        if argument is None:
            missing = re.search(r"field `(\w+)`", what)
            if missing and "missing" in what:
                argument = missing.group(1)
                return _bad(where, argument, "is missing", self._example())
            if what.startswith("Expected `array` of"):
                return _bad(where, None, f"takes {self._count()} arguments: {what}", self._example())
        found = _EXPECTED.match(what)
        text = f"expected {found['wanted']}, got {found['got']}" if found and found["got"] else what
        return _bad(where, argument, text + (f" at {inside}" if inside else ""), self._example())

    def _count(self) -> str:
        return str(self.most) if self.least == self.most else f"{self.least} to {self.most}"

    def _example(self) -> str:
        return (
            f"{self.title}({', '.join(f'{parameter.name}: {_shown(parameter.hint)}' for parameter in self.parameters)})"
        )


def _bad(where: Where, argument: str | None, text: str, hint: str | None) -> BadCall:
    about = f"argument {argument!r} " if argument else ""
    separator = ": " if text.startswith("expected") and argument else ""
    return BadCall(
        f"{where}: {about.rstrip() + separator if separator else about}{text}",
        hint=hint,
        agent=where.agent,
        handler=where.handler,
        argument=argument,
    )


def _hints(function: Callable[..., Any], title: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the type hints of {title} cannot be read: {error}",
            hint="hints are looked up in the handler's module",
        ) from None


def _field(parameter: Parameter) -> Any:
    if parameter.required:
        return (parameter.name, parameter.hint)
    return (parameter.name, parameter.hint, msgspec.field(default_factory=lambda: parameter.default))


def _by_order(title: str, parameters: tuple[Parameter, ...], fields: list[Any]) -> tuple[Any, Values]:
    """Return the type of a call by order, and its decoder."""
    if all(parameter.required and not parameter.keyword_only for parameter in parameters):
        kind: Any = tuple[*(parameter.hint for parameter in parameters)]  # type: ignore[misc]
        return kind, decoder_for(kind)
    # An argument without a default may follow one that has a default (keyword-only): the array form fills all then.
    struct = _arguments(title, fields, array_like=True)
    filled = decoder_for(struct)
    return struct, lambda raw: msgspec.structs.astuple(filled(raw))


def _arguments(title: str, fields: list[Any], array_like: bool) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        title.replace(".", "_").replace("<locals>", "local"),
        fields,
        array_like=array_like,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _shown(hint: Any) -> str:
    if hint is Any:
        return "anything"
    return (
        hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint).replace("typing.", "")
    )
