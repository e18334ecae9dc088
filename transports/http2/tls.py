"""TLS contexts: verification of certificates, and the protocols offered by ALPN."""

import os
import ssl
from functools import lru_cache

from transports.http2.options import PoolOptions

ALPN = {"auto": ["h2", "http/1.1"], "h2": ["h2"], "http/1.1": ["http/1.1"]}


def context_for(options: PoolOptions) -> ssl.SSLContext:
    """The caller's context, or the default one that verifies; sets its ALPN protocols."""
    context = options.ssl_context or verifying_context(options.trust_env, options.protocol)
    context.set_alpn_protocols(ALPN[options.protocol])
    return context


def proxy_context(options: PoolOptions) -> ssl.SSLContext:
    """Context for a proxy that is reached over TLS. The client speaks HTTP/1.1 with it."""
    context = verifying_context(options.trust_env, "proxy")
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=8)
def verifying_context(trust_env: bool, protocol: str) -> ssl.SSLContext:
    """Trusts the authorities that SSL_CERT_FILE or SSL_CERT_DIR name, else certifi's, else the system's."""
    file = os.environ.get("SSL_CERT_FILE") if trust_env else None
    directory = os.environ.get("SSL_CERT_DIR") if trust_env else None
    if file or directory:
        return ssl.create_default_context(cafile=file or None, capath=directory or None)
    try:
        import certifi
    except ImportError:
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())
