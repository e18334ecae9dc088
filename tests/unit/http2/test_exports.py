"""The public names of the transport and of the testing kit, pinned."""

import importlib

import pytest

PUBLIC = {
    "transports.http2": {
        "Call",
        "ConnectFailed",
        "ConnectionLost",
        "Exchange",
        "HTTP2Transport",
        "HTTPX2Transport",
        "InvalidRequest",
        "LimitExceeded",
        "Limits",
        "NDJSONDecoder",
        "Origin",
        "OriginStatistics",
        "PeerMisbehaved",
        "Pool",
        "PoolClosed",
        "PoolFull",
        "PoolOptions",
        "ProxyFailed",
        "Reply",
        "Request",
        "Response",
        "SSEDecoder",
        "ServerSentEvent",
        "StreamReset",
        "TLSFailed",
        "TimedOut",
        "Timeouts",
        "Trace",
        "TransportError",
        "UnsupportedScheme",
        "split_url",
    },
    "three_mode.testing": {
        "FOREVER",
        "NO_FAULT",
        "Answer",
        "Behaviour",
        "Certificates",
        "Fault",
        "ResetFormat",
        "ScriptedProvider",
        "Seen",
        "ToolCall",
        "Turn",
        "overloaded",
        "quota_exhausted",
        "rate_limited",
    },
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_these_and_all_are_there(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) >= PUBLIC[module]
    for name in found.__all__:
        assert getattr(found, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="HTTP3Transport"):
        importlib.import_module("transports.http2").HTTP3Transport  # noqa: B018
