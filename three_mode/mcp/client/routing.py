"""Headers that repeat what a request says, so that proxies can route it without reading it. Pure."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from three_mode.mcp.eras import FIELD_NAME, METHOD_HEADER, NAME_HEADER, NAMED_BY, STATELESS, VERSION_HEADER

_MARK = "x-mcp-header"  # in the schema of an argument: the header that repeats it
_PLAIN = re.compile(r"[\x20-\x7e]*")
_CODED = re.compile(r"=\?base64\?.*\?=")
_DEEPEST = 16


def routing_headers(
    method: str, params: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a request of the stateless era. `schema` is that of a called tool's arguments."""
    found = [(VERSION_HEADER, STATELESS[0].encode()), (METHOD_HEADER, method.encode())]
    name = params.get(NAMED_BY.get(method, ""))
    if isinstance(name, str):
        found.append((NAME_HEADER, header_value(name)))
    if schema:
        arguments = params.get("arguments")
        for header, value in _marked(schema, arguments if isinstance(arguments, dict) else {}, _DEEPEST):
            found.append((b"mcp-param-" + header.lower().encode(), header_value(value)))
    return tuple(found)


def header_value(text: str) -> bytes:
    """A text as the value of a header; one that a header cannot hold is coded."""
    if _PLAIN.fullmatch(text) and text == text.strip() and not _CODED.fullmatch(text):
        return text.encode()
    return b"=?base64?" + b64encode(text.encode("utf-8", "replace")) + b"?="


def _marked(schema: Mapping[str, Any], arguments: Mapping[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    """Header and value of each argument that is there and is to be repeated."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, inner in properties.items():
        value = arguments.get(name)
        if not isinstance(inner, dict) or value is None:
            continue
        header = inner.get(_MARK)
        if isinstance(header, str) and FIELD_NAME.fullmatch(header) and isinstance(value, bool | int | str):
            yield header, str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, dict) and depth:
            yield from _marked(inner, value, depth - 1)
