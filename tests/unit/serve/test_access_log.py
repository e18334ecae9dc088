"""Lines of the access log, and what a proxy says: pure."""

import json

import pytest

from three_mode.serve.access_log import AccessLine, as_json, as_text, shown_path
from three_mode.serve.proxy import FOR, PROTO, address_of, believe_proxy, caller, forwarded, scheme_of

LINE = AccessLine(
    time="2026-11-30T20:51:33Z",
    method="POST",
    path="/v1/chat/completions",
    status=200,
    ms=12.3,
    model="tiny",
    bytes=512,
    client="127.0.0.1",
)


def test_a_line_for_people() -> None:
    assert as_text(LINE) == "2026-11-30T20:51:33Z 127.0.0.1 POST /v1/chat/completions 200 12.3ms 512B tiny"


def test_a_line_for_programs() -> None:
    assert json.loads(as_json(LINE)) == {
        "time": "2026-11-30T20:51:33Z",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "ms": 12.3,
        "model": "tiny",
        "bytes": 512,
        "client": "127.0.0.1",
    }


def test_a_client_of_a_proxy_and_a_call_of_grpc() -> None:
    line = AccessLine(
        time="t", method="POST", path="/x", status=200, grpc="NOT_FOUND", ms=1.0, bytes=0, forwarded="::1"
    )
    assert as_text(line) == "t - POST /x 200/NOT_FOUND 1.0ms 0B for ::1"


@pytest.mark.parametrize("word", ["a\nb", "a\x1b[2Jb", "a b", "a\u2028b", "a\rb", "a\x00b", "a\u202eb"])
def test_no_text_of_a_client_begins_a_line_or_moves_a_cursor(word: str) -> None:
    line = AccessLine(time="t", method="GET", path="/" + word, status=404, ms=1.0, model=word, bytes=0)
    for text in (as_text(line), as_json(line)):
        assert len(text.splitlines()) == 1
        assert "\x1b" not in text
        assert "\x00" not in text
    assert as_text(line).count(" ") == 7


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/conversations/conv_" + "0123456789abcdef" * 3 + "/items", "/v1/conversations/conv_0123456.../items"),
        ("/v1/responses/resp_" + "f" * 48, "/v1/responses/resp_fffffff..."),
        ("/sk-" + "0123456789" * 3, "/sk-" + "012345678" + "..."),
        ("/" + "a/" * 500, "/" + "a/" * 99 + "a"),
    ],
)
def test_long_words_of_a_path_are_not_shown_whole(path: str, shown: str) -> None:
    assert shown_path(path) == shown


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("203.0.113.9 evil", None),
        ("[", None),
    ],
)
def test_an_address_that_a_proxy_says(word: str, address: str | None) -> None:
    assert address_of(word) == address


def test_the_last_word_is_the_proxys_own() -> None:
    headers = [(FOR, b"1.2.3.4, 5.6.7.8"), (b"host", b"x"), (FOR, b"9.9.9.9,203.0.113.9"), (PROTO, b"http, https")]
    assert caller(headers) == "203.0.113.9"
    assert scheme_of(forwarded(headers, PROTO)) == "https"
    assert caller([]) is None
    assert scheme_of("gopher") is None


def test_a_scope_becomes_that_of_the_client() -> None:
    scope = {
        "type": "http",
        "client": ("10.0.0.2", 5),
        "scheme": "http",
        "headers": [(FOR, b"203.0.113.9"), (PROTO, b"https")],
    }
    believe_proxy(scope)
    assert (scope["client"], scope["scheme"], scope["three_mode.peer"]) == (
        ("203.0.113.9", 0),
        "https",
        ("10.0.0.2", 5),
    )
    bare = {"type": "websocket", "client": None, "scheme": "ws", "headers": [(PROTO, b"https")]}
    believe_proxy(bare)
    assert (bare["client"], bare["scheme"]) == (None, "wss")
