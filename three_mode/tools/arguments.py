"""Arguments of a function: their JSON Schema from its type hints, and the decoding of those that a model wrote.

A hint may be anything that JSON can hold: numbers, text, `Literal`, `Enum`, `Optional`, lists, dicts, dates, paths,
dataclasses, TypedDicts, NamedTuples, msgspec structs, models of pydantic, and `Annotated[...]` with constraints of
msgspec.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from three_mode.errors import ConfigurationError
from three_mode.tools.docstrings import read_docstring
from three_mode.tools.foreign import ForeignSchemas, decode_foreign

_REFERENCE = "#/$defs/{name}"


class UnfitArguments(ValueError):
    """The arguments of a call do not fit the tool. The model reads the text, and may try again."""


class ArgumentSchema:
    """Parameters of one function. `schema` is the JSON Schema of its arguments, `description` the docstring's words."""

    __slots__ = ("_kind", "_names", "description", "schema")

    def __init__(self, kind: type[msgspec.Struct], schema: dict[str, Any], description: str) -> None:
        self._kind, self._names = kind, kind.__struct_fields__
        self.schema, self.description = schema, description

    @classmethod
    def of(cls, function: Callable[..., Any], *, method: bool = False) -> "ArgumentSchema":
        """Reads the signature; ConfigurationError says what of it a model cannot give. `method` leaves `self` out."""
        title = getattr(function, "__name__", type(function).__name__)
        parameters = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
        hints = _hints(function, title)
        fields: list[Any] = []
        defaults: dict[str, Any] = {}
        words: dict[str, str] = {}
        for parameter in parameters:
            hint = _hint(parameter, hints, title)
            if text := _annotated_words(hint):
                words[parameter.name] = text
            if parameter.default is parameter.empty:
                fields.append((parameter.name, hint))
            else:
                defaults[parameter.name] = parameter.default
                fields.append((parameter.name, hint, msgspec.field(default_factory=_constant(parameter.default))))
        try:
            kind = msgspec.defstruct(title or "arguments", fields, kw_only=True, forbid_unknown_fields=True)
            schema = _schema(kind)
            msgspec.json.Decoder(kind, dec_hook=decode_foreign)  # compiles all of it: what it cannot decode, it refuses
        except (TypeError, NotImplementedError, RuntimeError) as error:
            raise ConfigurationError(
                f"{title}: a model cannot give these arguments: {error}",
                hint="take numbers, text, lists, dicts, dataclasses, TypedDicts, enums or models of pydantic",
            ) from None
        description, described = read_docstring(function, kind.__struct_fields__)
        properties = schema.setdefault("properties", {})
        for name, value in defaults.items():
            _add_default(properties[name], value)
        for name, text in (words | described).items():
            properties[name] = {**properties[name], "description": text}
        schema["additionalProperties"] = False
        return cls(kind, schema, description)

    def decode(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of the function. Numbers and booleans may be written as text. UnfitArguments names the place."""
        try:
            made = msgspec.convert(arguments, self._kind, strict=False, dec_hook=decode_foreign)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise UnfitArguments(f"the arguments are not right: {error}") from None
        return {name: getattr(made, name) for name in self._names}


def _hints(function: Callable[..., Any], title: str) -> dict[str, Any]:
    target = getattr(function, "func", function)  # of a `functools.partial`
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the type hints of {title} cannot be read: {error}", hint="hints are looked up in the function's module"
        ) from None


def _hint(parameter: inspect.Parameter, hints: dict[str, Any], title: str) -> Any:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ConfigurationError(f"{title}: a tool takes named parameters, not {parameter}")
    if parameter.name not in hints:
        raise ConfigurationError(
            f"{title}: the parameter {parameter.name!r} has no type hint", hint="the hints are the schema"
        )
    return hints[parameter.name]


def _annotated_words(hint: Any) -> str:
    """The words in `Annotated[str, "the city"]`, or in pydantic's `Field(description=...)`."""
    if get_origin(hint) is not Annotated:
        return ""
    for extra in get_args(hint)[1:]:
        words = extra if isinstance(extra, str) else getattr(extra, "description", None)
        if isinstance(words, str) and words:
            return words
    return ""


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Schema with the object of the arguments at its root, and the types that it refers to in `$defs`."""
    foreign = ForeignSchemas()
    (root,), components = msgspec.json.schema_components([kind], schema_hook=foreign, ref_template=_REFERENCE)
    name = root["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = components.pop(name)
    schema.pop("title", None)
    for shared in schema.get("properties", {}).values():
        shared.pop("default", None)  # msgspec shows those alone that it can make itself
    if definitions := {**foreign.definitions, **components}:
        schema["$defs"] = definitions
    return schema


def _add_default(schema: dict[str, Any], value: Any) -> None:
    try:
        schema["default"] = msgspec.to_builtins(value)
    except (TypeError, ValueError, RecursionError):
        pass  # a default that JSON cannot hold: the model leaves the argument out
