"""The one place where an error of the HTTP transport becomes one of ours."""

from three_mode.errors import (
    BadReply,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    Overloaded,
    ThreeModeError,
)
from transports.http2 import (
    ConnectFailed,
    InvalidRequest,
    PeerMisbehaved,
    PoolClosed,
    PoolFull,
    ProxyFailed,
    TimedOut,
    TLSFailed,
    TransportError,
)

_STAGES = {
    "connect": "connect",
    "pool": "pool",
    "write": "write",
    "first_byte": "first token",
    "idle": "idle",
    "total": "total",
}


def translated(error: TransportError, provider: str, model: str | None) -> ThreeModeError:
    said = f"{provider}: {error}"
    if isinstance(error, TimedOut):
        return DeadlineExceeded(said, stage=_STAGES[error.phase], provider=provider, model=model)
    if isinstance(error, TLSFailed):
        return ConnectionFailed(
            said,
            provider=provider,
            model=model,
            retryable=False,
            hint="is base_url= right, and its certificate known here?",
        )
    if isinstance(error, ProxyFailed):
        return ConnectionFailed(said, provider=provider, model=model, hint="check HTTPS_PROXY and NO_PROXY")
    if isinstance(error, ConnectFailed):
        return ConnectionFailed(said, provider=provider, model=model, hint="is base_url= right, and the server up?")
    if isinstance(error, PoolClosed):
        return ConfigurationError(f"{provider}: this connection is closed", hint="make a new LLMConnection")
    if isinstance(error, PoolFull):
        return Overloaded(said)
    if isinstance(error, InvalidRequest):
        return ConfigurationError(said, hint="check base_url= and the headers that you added")
    if isinstance(error, PeerMisbehaved):
        return BadReply(said, provider=provider, model=model)
    return ConnectionFailed(said, provider=provider, model=model)
