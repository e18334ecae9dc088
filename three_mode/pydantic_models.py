"""Models of pydantic: as values between agents, as schemas, and as types of JSON answers.

pydantic is never imported here: a program that has no class of it needs none of it.
"""

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, get_args, get_type_hints

import msgspec


def is_model(kind: Any) -> bool:
    """Whether a class is a pydantic model."""
    pydantic = sys.modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)
    return base is not None and isinstance(kind, type) and issubclass(kind, base)


def mentions_model(kind: Any) -> bool:
    """Whether a type hint has a pydantic model in it: itself, an argument of it, or a field of a dataclass."""
    return "pydantic" in sys.modules and _mentions_model(kind, frozenset())


def _mentions_model(kind: Any, seen: frozenset[Any]) -> bool:
    if is_model(kind):
        return True
    if isinstance(kind, type) and is_dataclass(kind) and kind not in seen:
        seen |= {kind}
        return any(_mentions_model(hint, seen) for hint in get_type_hints(kind).values())
    return any(_mentions_model(argument, seen) for argument in get_args(kind))


# values ---------------------------------------------------------------------------------------------------------------
def dump(model: Any) -> Any:
    """Return the fields of a model with their values, by name: aliases may differ between reading and writing.

    `model_dump` is not for this: it hides secrets, and cannot dump a set of models.
    """
    kind = type(model)
    if kind.__pydantic_root_model__:
        return model.root
    fields = {_key(name, field): getattr(model, name) for name, field in kind.model_fields.items()}
    return fields | (model.model_extra or {})


def _key(name: str, field: Any) -> str:
    if _reads_names():
        return name
    return next((alias for alias in (field.validation_alias, field.alias) if isinstance(alias, str)), name)


def text_of(value: Any) -> str | None:
    """Return the text of a value of which a model makes the same value again: a URL, or an address of IP."""
    return str(value) if type(value).__module__ in ("pydantic.networks", "ipaddress") else None


def validate(kind: Any, value: Any) -> Any:
    """Make a model of data; ValueError says which field does not fit."""
    if isinstance(value, kind):
        return value
    names = {"by_name": True, "by_alias": not _names_clash(kind)} if _reads_names() else {}
    try:
        return kind.model_validate(value, **names)
    except sys.modules["pydantic"].ValidationError as error:
        raise ValueError(f"{kind.__name__}: {_first(error)}") from None


@lru_cache(maxsize=1)
def _reads_names() -> bool:
    """Whether this pydantic can validate by the names of fields, as it can since 2.11."""
    import inspect

    return "by_name" in inspect.signature(sys.modules["pydantic"].BaseModel.model_validate).parameters


@lru_cache(maxsize=256)
def _names_clash(kind: Any) -> bool:
    """Whether an alias of one field is the name of another, so that data by names cannot be read by aliases too."""
    fields: Mapping[str, Any] = kind.model_fields
    return any(
        alias in fields and alias != name
        for name, field in fields.items()
        for alias in (field.alias, field.validation_alias)
        if isinstance(alias, str)
    )


def _first(error: Any) -> str:
    """Return the place and the text of a validation error's first problem."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, problem["loc"]))
    more = error.error_count() - 1
    return f"{place + ': ' if place else ''}{problem['msg']}{f' (and {more} more)' if more else ''}"


# JSON -----------------------------------------------------------------------------------------------------------------
def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type: a dataclass, a struct, a TypedDict, a pydantic model, or a list of one."""
    if not mentions_model(kind):
        return msgspec.json.schema(kind)
    schema: dict[str, Any] = sys.modules["pydantic"].TypeAdapter(kind).json_schema()
    return schema


def decode_json(text: str, kind: Any) -> Any:
    """Read JSON as a type; msgspec.ValidationError names the place that does not fit."""
    if not mentions_model(kind):
        return msgspec.json.decode(text, type=kind)
    pydantic = sys.modules["pydantic"]
    try:
        return pydantic.TypeAdapter(kind).validate_json(text)
    except pydantic.ValidationError as error:
        raise msgspec.ValidationError(f"{getattr(kind, '__name__', kind)}: {_first(error)}") from None
