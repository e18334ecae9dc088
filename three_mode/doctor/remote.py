"""Checks of HTTP/2 over TLS, which remote models need."""

import ssl
from collections.abc import Iterator

from three_mode.connection import ConnectionOptions, LLMConnection
from three_mode.doctor.check import Check, Status
from three_mode.doctor.runtime import installed
from three_mode.errors import ThreeModeError
from three_mode.policies import Prices

AREA = "remote models"


def checks() -> Iterator[Check]:
    """Checks of this area."""
    yield http2()
    yield tls()
    yield trust()
    yield providers()


def http2() -> Check:
    """Checks that the packages of the HTTP client are installed."""
    versions = {name: installed(name) for name in ("httpx", "h2", "h11")}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Check(AREA, "http/2", Status.BROKEN, f"{', '.join(missing)} missing", "pip install 'httpx[http2]'")
    return Check(AREA, "http/2", Status.OK, ", ".join(f"{name} {version}" for name, version in versions.items()))


def tls() -> Check:
    """Checks that OpenSSL has ALPN, which HTTP/2 needs."""
    if not ssl.HAS_ALPN:
        return Check(
            AREA,
            "tls",
            Status.LIMITED,
            f"{ssl.OPENSSL_VERSION} without ALPN: HTTP/1.1 only",
            "use a newer OpenSSL",
        )
    return Check(AREA, "tls", Status.OK, f"{ssl.OPENSSL_VERSION}, ALPN")


def trust() -> Check:
    """Checks that the system has certificates of authorities."""
    count = ssl.create_default_context().cert_store_stats()["x509_ca"]
    if count == 0:
        return Check(
            AREA,
            "certificates",
            Status.LIMITED,
            "no system certificates",
            "apt-get install ca-certificates, or rely on the bundled certifi",
        )
    return Check(AREA, "certificates", Status.OK, f"{count} authorities")


def providers() -> Check:
    """Says which providers can be called with the settings that are in force. Nobody is asked."""
    try:
        found = LLMConnection(options=ConnectionOptions(prices=Prices())).providers()
    except (ThreeModeError, ImportError) as error:
        return Check(AREA, "providers", Status.LIMITED, str(error), "three-mode config check")
    remote = [status for status in found.values() if status.name != "local"]
    able = [f"{each.name} ({each.model})" if each.model else each.name for each in remote if each.available]
    lacking = [each.name for each in remote if not each.available]
    said = f"can be called: {', '.join(able) or 'none'}; no key or command: {', '.join(lacking) or 'none'}"
    return Check(AREA, "providers", Status.OK, said)
