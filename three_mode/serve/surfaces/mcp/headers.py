"""Headers of a request of MCP, which must say what its body says: a proxy decides by them. Pure."""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable

from three_mode.mcp.eras import (
    HANDSHAKE,
    METHOD_HEADER,
    NAME_HEADER,
    NAMED_BY,
    STATELESS,
    VERSION_HEADER,
    VERSION_KEY,
    is_stateless,
    meta_of,
)
from three_mode.mcp.rpc import HEADER_MISMATCH, RpcFailure, RpcRequest
from three_mode.mcp.server import McpServer, unsupported

_CODED = re.compile(r"=\?base64\?(.*)\?=")


def check_headers(request: RpcRequest, header: Callable[[bytes], str | None]) -> None:
    """Raises RpcFailure where the headers of a request are of another version, or contradict it."""
    version = header(VERSION_HEADER)
    if not is_stateless(request.params) and version not in STATELESS:
        if version is not None and version not in HANDSHAKE:
            raise unsupported(version)
        return
    McpServer.check_version(request.params)
    if version != meta_of(request.params)[VERSION_KEY]:
        raise _mismatch("MCP-Protocol-Version", "the version in _meta")
    if header(METHOD_HEADER) != request.method:
        raise _mismatch("Mcp-Method", "the method")
    name = request.params.get(NAMED_BY.get(request.method, ""))
    if name is not None and _decoded(header(NAME_HEADER)) != name:
        raise _mismatch("Mcp-Name", "the name in the parameters")


def _mismatch(header: str, what: str) -> RpcFailure:
    return RpcFailure(HEADER_MISMATCH, f"the header {header} is not {what}")


def _decoded(value: str | None) -> str | None:
    """The text of a header; None for one that is coded wrongly."""
    coded = None if value is None else _CODED.fullmatch(value)
    if coded is None:
        return value
    try:
        return b64decode(coded[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None
