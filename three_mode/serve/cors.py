"""What a browser must hear before a page of another origin may read our answers: only pages that `--origin` names do.
Pure."""

from collections.abc import Callable

from three_mode.serve.options import ServeOptions

Headers = tuple[tuple[bytes, bytes], ...]
KEPT = b"600"  # seconds for which a browser need not ask again


def named(options: ServeOptions, origin: str | None) -> Headers:
    """Headers of every answer to such a page; none for anybody else."""
    if origin is None or origin not in options.allowed_origins:
        return ()
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"retry-after"),
        (b"vary", b"origin"),
    )


def preflight(header: Callable[[bytes], str | None]) -> Headers:
    """The answer to a browser that asks first. The headers that it means to send may all be sent: the key is one of
    them."""
    wanted = (header(b"access-control-request-headers") or "").encode("latin-1")
    return (
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", KEPT),
    )
