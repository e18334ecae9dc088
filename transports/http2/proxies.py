"""Choice of the proxy for an origin. Pure: the environment is an argument."""

import base64
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from transports.http2.errors import ProxyFailed
from transports.http2.request import Origin


class Proxy(NamedTuple):
    """HTTP proxy. Its repr holds no password."""

    scheme: str
    host: str
    port: int
    authorization: bytes  # the value of proxy-authorization, or b""

    def __repr__(self) -> str:
        return f"Proxy({self.scheme}://{self.host}:{self.port})"


def parse_proxy(url: str) -> Proxy:
    """Reads a proxy from `http://NAME:PASSWORD@host:3128` or `host:3128`."""  # pragma: allowlist secret
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise ProxyFailed("the URL of the proxy cannot be read; it looks like http://host:3128") from None
    if parts.scheme not in ("http", "https"):
        raise ProxyFailed(
            f"proxies of the kind {parts.scheme!r} are not supported; give one that begins with http:// or https://, "
            "or exclude the host with NO_PROXY"
        )
    if not parts.hostname:
        raise ProxyFailed("the URL of the proxy names no host; it looks like http://host:3128")
    authorization = b""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(pair.encode())
    return Proxy(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), authorization)


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower case or upper, as httpx does."""
    named = {name.lower(): value for name, value in environ.items() if name.isupper()}
    named |= {name: value for name, value in environ.items() if name.islower()}
    if "REQUEST_METHOD" in environ:
        named.pop("http_proxy", None)  # in a CGI script a client sets this variable, by a header of its request
    url = named.get(f"{origin.scheme}_proxy") or named.get("all_proxy")
    if not url or _excluded(origin, named.get("no_proxy", "")):
        return None
    return parse_proxy(url)


def _excluded(origin: Origin, no_proxy: str) -> bool:
    host = origin.host.lower()
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if not entry:
            continue
        if entry == "*":
            return True
        scheme, separator, rest = entry.partition("://")
        if separator:
            if scheme not in (origin.scheme, "all"):
                continue
            entry = rest
        if _matches(host, origin.port, entry):
            return True
    return False


def _matches(host: str, port: int, entry: str) -> bool:
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:
            return False
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdigit():
        if int(wanted_port) != port:
            return False
        entry = name.strip("[]")
    entry = entry.removeprefix("*").removeprefix(".")
    return host == entry or host.endswith(f".{entry}")
