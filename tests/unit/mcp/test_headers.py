"""Headers that repeat a message: what the client writes is what the server wants, and the official package too."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared import inbound

from three_mode.mcp.client.routing import header_value, routing_headers
from three_mode.mcp.eras import CAPABILITIES_KEY, VERSION_KEY
from three_mode.mcp.rpc import RpcFailure, RpcRequest
from three_mode.serve.surfaces.mcp.headers import check_headers

META = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}
SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "inner": {"type": "object", "properties": {"count": {"type": "integer", "x-mcp-header": "Count"}}},
        "free": {"type": "string"},
    },
}


def call(name: str, **arguments: Any) -> RpcRequest:
    return RpcRequest(1, "tools/call", {"name": name, "arguments": arguments, "_meta": META})


def headers_of(request: RpcRequest, schema: dict[str, Any] | None = None) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in routing_headers(request.method, request.params, schema)}


def check(request: RpcRequest, headers: dict[str, str]) -> None:
    check_headers(request, lambda name: headers.get(name.decode()))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_survives_its_header(name: str) -> None:
    request = call(name)
    headers = headers_of(request)
    check(request, headers)
    assert inbound.decode_header_value(headers["mcp-name"]) == name
    assert header_value(name).decode() == inbound.encode_header_value(name)
    body = {"jsonrpc": "2.0", "id": 1, "method": request.method, "params": request.params}
    assert isinstance(inbound.classify_inbound_request(body, headers=headers), inbound.InboundModernRoute)


def test_arguments_that_their_schema_marks_are_repeated() -> None:
    request = call("t", region="Tromsø", dry=True, inner={"count": 3}, free="x")
    headers = headers_of(request, SCHEMA)
    assert headers["mcp-param-dry"] == "true"
    assert headers["mcp-param-count"] == "3"
    assert "mcp-param-free" not in headers
    arguments = request.params["arguments"]
    assert inbound.validate_mcp_param_headers(SCHEMA, arguments, headers) is None
    assert "mcp-param-region" not in headers_of(call("t", region=None), SCHEMA)


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name"])
@pytest.mark.parametrize("value", [None, "", "x", "=?base64?!?=", "=?base64?/w==?="])
def test_a_header_that_says_something_else_is_refused(name: str, value: str | None) -> None:
    request = call("weather")
    headers = headers_of(request)
    headers.pop(name)
    if value is not None:
        headers[name] = value
    with pytest.raises(RpcFailure) as caught:
        check(request, headers)
    assert caught.value.code in (-32020, -32022)


def test_a_request_of_the_handshake_era_needs_no_header() -> None:
    request = RpcRequest(1, "tools/list", {})
    check(request, {})
    check(request, {"mcp-protocol-version": "2025-03-26"})
    with pytest.raises(RpcFailure) as caught:
        check(request, {"mcp-protocol-version": "2024-01-01"})
    assert caught.value.data["requested"] == "2024-01-01"
