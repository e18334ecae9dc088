"""Base of frozen options: a msgspec Struct, of which `dataclasses.replace`, `fields` and `asdict` know the fields too.

A dataclass that is frozen and has slots takes some forty times as long to define as a Struct, and a program that
imports the library waits for it, whether it sets any option or not.
"""

from dataclasses import Field, make_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct


@cache
def _fields_of(kind: Any) -> dict[str, Field[Any]]:
    """The names of the fields, as `dataclasses` keeps them."""
    fields: dict[str, Field[Any]] = vars(make_dataclass(kind.__name__, kind.__struct_fields__))["__dataclass_fields__"]
    return fields


class _Fields:
    """The fields of a class, described when `dataclasses` first asks for them."""

    def __get__(self, options: object, kind: type[Struct]) -> dict[str, Field[Any]]:
        return _fields_of(kind)


class FrozenOptions(Struct, frozen=True, kw_only=True):
    """Options that are set once. `dataclasses.replace(options, name=value)` gives changed ones."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _Fields()
