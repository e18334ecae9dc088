"""What a proxy in front of the endpoint says of a request: who asks, and whether it came by TLS. Pure.

Clients may send the same headers, and a proxy writes its own word behind theirs: the last one is what it saw itself.
"""

import ipaddress
from collections.abc import Iterable, MutableMapping
from typing import Any

FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
PEER = "three_mode.peer"
"""Key of a request's scope: the address that it came from, that of the proxy."""


def believe_proxy(scope: MutableMapping[str, Any]) -> None:
    """Makes `client` and `scheme` of a request those that the proxy says, as ASGI servers do that stand behind one."""
    scope[PEER] = scope.get("client")
    address, scheme = caller(scope["headers"]), scheme_of(forwarded(scope["headers"], PROTO))
    if address is not None:
        scope["client"] = (address, 0)
    if scheme is not None:
        scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme


def caller(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The address that a request is from, as the proxy says."""
    return address_of(forwarded(headers, FOR))


def forwarded(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The last word of a header that may have been sent several times; empty where there is none."""
    found = [value for each, value in headers if each == name]
    return last_word(found[-1].decode("latin-1")) if found else ""


def last_word(value: str) -> str:
    """What the proxy itself wrote."""
    return value.rpartition(",")[2].strip()


def address_of(word: str) -> str | None:
    """An address, which may have a port: `203.0.113.9:4711`, `[2001:db8::1]:4711`. None where it is none."""
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return None


def scheme_of(word: str) -> str | None:
    """`http` or `https`; None for any other word."""
    scheme = word.lower()
    return scheme if scheme in ("http", "https") else None
