"""Loopback by default; elsewhere not without a key and TLS; keys stay out of sight."""

from pathlib import Path

import pytest

from three_mode.errors import ConfigurationError
from three_mode.serve import ServeOptions, Tls
from three_mode.serve.guard import refusal

TLS = Tls(Path("cert.pem"), Path("key.pem"))
KEYS = frozenset({"correct horse"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_nothing(host: str) -> None:
    assert ServeOptions(host=host).on_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_elsewhere_needs_a_key_and_tls(host: str) -> None:
    with pytest.raises(ConfigurationError, match="an API key and TLS"):
        ServeOptions(host=host)
    with pytest.raises(ConfigurationError, match="that needs TLS"):
        ServeOptions(host=host, api_keys=KEYS)
    with pytest.raises(ConfigurationError, match="that needs an API key"):
        ServeOptions(host=host, tls=TLS)
    assert ServeOptions(host=host, tls=TLS, api_keys=KEYS).host == host


def test_keys_are_not_shown() -> None:
    assert "correct" not in repr(ServeOptions(api_keys=KEYS))
    with pytest.raises(ConfigurationError):
        ServeOptions(api_keys=frozenset({" "}))


def status(options: ServeOptions, **headers: str) -> int:
    told = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    refused = refusal(options, told.get)
    return refused.status if refused else 200


def test_keys() -> None:
    options = ServeOptions(api_keys=KEYS)
    assert status(options, host="example.org") == 401
    assert status(options, authorization="Bearer wrong") == 401
    assert status(options, authorization="Basic correct horse") == 401
    assert status(options, authorization="Bearer correct horse") == 200
    assert status(options, sec_websocket_protocol="three-mode.events, bearer.correct horse") == 200
    assert status(options, sec_websocket_protocol="three-mode.events, bearer.kéy") == 401


def test_pages_of_other_origins_are_refused() -> None:
    options = ServeOptions(allowed_origins=frozenset({"https://console.example"}))
    assert status(options, host="127.0.0.1:8080", origin="https://evil.example") == 403
    assert status(options, host="127.0.0.1:8080", origin="null") == 403
    assert status(options, host="127.0.0.1:8080", origin="http://127.0.0.1:8080") == 200
    assert status(options, host="127.0.0.1:8080", origin="https://console.example") == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("127.0.0.1", 200),
        ("rebound.example:8080", 403),
        ("", 403),
    ],
)
def test_without_keys_only_names_of_loopback_are_answered(host: str, expected: int) -> None:
    assert status(ServeOptions(), host=host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.9.9.9:1", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("[::1].evil.example", 403),
        ("[::1]evil.example", 403),
        ("[::1]:80@evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("localhost:80:evil.example", 403),
        ("evil.example", 403),
        ("[::2]", 403),
        ("", 403),
    ],
)
def test_only_a_whole_host_names_loopback(host: str, expected: int) -> None:
    assert status(ServeOptions(), host=host) == expected
