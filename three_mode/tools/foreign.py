"""Types that msgspec does not know, as arguments and results of tools: paths, and pydantic's models.

pydantic is never imported here: a program that has a model of it has imported it already.
"""

from pathlib import PurePath
from typing import Any

from three_mode.pydantic_models import is_model as is_pydantic


def decode_foreign(kind: Any, value: Any) -> Any:
    """msgspec's `dec_hook`: makes a value of a type that msgspec does not know."""
    if is_pydantic(kind):
        return value if isinstance(value, kind) else kind.model_validate(value)
    if isinstance(kind, type) and issubclass(kind, PurePath):
        if not isinstance(value, str):
            raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
        return kind(value)
    raise NotImplementedError(f"{kind} is no argument")


def encode_foreign(value: Any) -> Any:
    """msgspec's `enc_hook`: makes plain data of a value that msgspec does not know; text where nothing better is."""
    if is_pydantic(type(value)):
        return value.model_dump(mode="json")
    return str(value)


class ForeignSchemas:
    """msgspec's `schema_hook`, which gathers the definitions that pydantic's schemas bring along."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def __call__(self, kind: Any) -> dict[str, Any]:
        if is_pydantic(kind):
            schema: dict[str, Any] = kind.model_json_schema(ref_template="#/$defs/{model}")
            self.definitions |= schema.pop("$defs", {})
            return schema
        if isinstance(kind, type) and issubclass(kind, PurePath):
            return {"type": "string"}
        raise NotImplementedError(f"{getattr(kind, '__qualname__', kind)} has no JSON Schema")
