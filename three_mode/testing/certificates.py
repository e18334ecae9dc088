"""Temporary certificates for servers on this machine."""

import ssl
from pathlib import Path
from typing import Any


class Certificates:
    """One authority and one certificate for `localhost`, generated anew each time. Needs the package trustme."""

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise ImportError("a scripted provider with TLS needs trustme: pip install trustme") from None
        self._authority: Any = trustme.CA()
        self._certificate: Any = self._authority.issue_cert("localhost", "127.0.0.1", "::1")

    def server_context(self, protocols: list[str]) -> ssl.SSLContext:
        """A TLS context for a server that offers these protocols by ALPN."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        context.set_alpn_protocols(protocols)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A TLS context for clients, which trusts this authority and those of the system."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context

    def write(self, directory: Path) -> tuple[str, str, str]:
        """Writes PEM files, for servers in other programs. Returns the paths of authority, certificate and key."""
        authority, certificate, key = directory / "ca.pem", directory / "cert.pem", directory / "key.pem"
        self._authority.cert_pem.write_to_path(str(authority))
        certificate.write_bytes(b"".join(blob.bytes() for blob in self._certificate.cert_chain_pems))
        self._certificate.private_key_pem.write_to_path(str(key))
        return str(authority), str(certificate), str(key)
