"""Options of calls over gRPC, and its addresses."""

from urllib.parse import urlsplit

from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions

SCHEMES = ("grpc://", "grpcs://", "grpc+unix://")


def grpc_beside(base_url: str) -> str:
    """The address of gRPC at the place where a URL has HTTP: same host, same port."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"{base_url!r} is not a URL: {error}") from None
    secure = parts.scheme == "https"
    host = f"[{host}]" if ":" in host else host
    return f"grpc{'s' if secure else ''}://{host}:{port or (443 if secure else 80)}"


class GRPCOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of calls over gRPC. Times are in seconds."""

    insecure: bool = False  #: whether a server of another machine may be called without TLS, key and text in the clear
    compress: bool = False  #: whether requests of a kilobyte or more are sent with gzip
    remember: float = 60.0  #: how long HTTP answers for a provider whose gRPC was not there, before it is tried again
    keepalive: float = 310.0  #: a connection silent for so long gets a PING; servers refuse one in under five minutes

    def __post_init__(self) -> None:
        if not self.remember >= 0 or not self.keepalive > 0:
            raise ConfigurationError(
                f"remember= and keepalive= are seconds, not {self.remember!r} and {self.keepalive!r}"
            )
