"""Options of a connection to NATS. Frozen; secrets are in files, and in no repr."""

import re
from dataclasses import dataclass

from transports.nats.errors import NatsError

_SECRET = re.compile(r"//[^/@\s]*@")
SCHEMES = ("nats", "tls")


@dataclass(frozen=True)
class NatsOptions:
    """Options of a connection to NATS. Times are in seconds, paths are those of files."""

    url: str
    """Address of the server, `nats://10.0.0.1:4222` or `tls://...`; several with commas between them."""
    ca: str = ""
    """Certificates that sign the server's, as PEM; empty: those of the system."""
    certificate: str = ""
    """Certificate of this side, where the server asks for one."""
    key: str = ""
    """Key of that certificate."""
    credentials: str = ""
    """Credentials of a user (`.creds`)."""
    nkey: str = ""
    """Seed of an NKey."""
    token: str = ""
    """File with a token."""
    connect_within: float = 5.0
    """Seconds for the first connection."""
    ping: float = 1.0
    """Seconds between pings; the connection is given up when two are not answered."""
    queue_bytes: int = 32 * 1024 * 1024
    """Bytes that may wait to be sent; more are dropped, and `publish` says so."""
    inbox_messages: int = 65536
    """Messages of one subscription that may wait for their callback; more are dropped, and `failed` is called."""
    inbox_bytes: int = 64 * 1024 * 1024
    """Bytes of them."""

    def __repr__(self) -> str:
        return f"NatsOptions(url={self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without user and password."""
        return _SECRET.sub("//...@", self.url)

    @property
    def servers(self) -> list[str]:
        """The addresses; NatsError where one is none."""
        found = [url.strip() for url in self.url.split(",") if url.strip()]
        for url in found:
            scheme, separator, rest = url.partition("://")
            if not separator or scheme not in SCHEMES or not rest.rpartition("@")[2].strip("/"):
                raise NatsError(f"{_SECRET.sub('//...@', url)!r} is no address of a NATS server")
        if not found:
            raise NatsError("an address of a NATS server is needed")
        return found
