"""JSON Schemas in the forms of providers: an object at the root, closed objects in strict mode, no references."""

from typing import Any

import msgspec

from three_mode.errors import InvalidRequest

_NESTED = ("properties", "$defs", "definitions", "patternProperties")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE = ("items", "not")
Schema = dict[str, Any]


def rooted(schema: Schema) -> Schema:
    """Resolves a reference at the root: msgspec and pydantic give `{"$ref": "#/$defs/X", "$defs": ...}` for a class."""
    ref = schema.get("$ref")
    if not isinstance(ref, str):
        return schema
    target = _resolve(schema, ref)
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    whole = {**target, **rest}
    definitions = {name: value for name, value in whole.get("$defs", {}).items() if _mentions(whole, name)}
    if definitions:
        whole["$defs"] = definitions
    else:
        whole.pop("$defs", None)
    return whole


def strict(schema: Schema) -> Schema:
    """Closes every object and requires every property, as strict decoding demands.

    Defaults are removed: they have no meaning for a model that must give every field.
    """
    return _strict(rooted(schema))


def _strict(schema: Schema) -> Schema:
    found = dict(schema)
    for name in _NESTED:
        if isinstance(found.get(name), dict):
            found[name] = {
                key: _strict(value) if isinstance(value, dict) else value for key, value in found[name].items()
            }
    for name in _LISTS:
        if isinstance(found.get(name), list):
            found[name] = [_strict(value) if isinstance(value, dict) else value for value in found[name]]
    for name in _SINGLE:
        if isinstance(found.get(name), dict):
            found[name] = _strict(found[name])
    if isinstance(found.get("properties"), dict) or found.get("type") == "object":
        found.setdefault("additionalProperties", False)
        if found.get("properties"):
            found["required"] = list(found["properties"])
    found.pop("default", None)
    return found


def inlined(schema: Schema) -> Schema:
    """Replaces references by their targets, for prompts; a recursive schema keeps its references."""
    found: Schema = _inline(schema, schema, ())
    return found


def _inline(schema: Any, root: Schema, within: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_inline(value, root, within) for value in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref not in within:
        target = _inline(_resolve(root, ref), root, (*within, ref))
        return {
            **target,
            **{k: _inline(v, root, within) for k, v in schema.items() if k not in ("$ref", "$defs")},
        }
    return {key: _inline(value, root, within) for key, value in schema.items() if key != "$defs"}


def _resolve(root: Schema, ref: str) -> Schema:
    found: Any = root
    for step in ref.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise InvalidRequest(f"the schema refers to {ref!r}, which it does not hold", field="json_schema")
    return found


def _mentions(schema: Schema, name: str) -> bool:
    return f'"#/$defs/{name}"'.encode() in msgspec.json.encode(schema)
