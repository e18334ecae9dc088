"""One channel a mode: a request in, its transport, a reply out."""

import warnings

from three_mode.channels.channel import Channel, OpenReply, RemoteChannel

__all__ = ["Channel", "OpenReply", "RemoteChannel"]


def __getattr__(name: str) -> object:
    """Names of before, which go with the first release."""
    if name == "HumanAI":
        warnings.warn("three_mode.channels.HumanAI is now RemoteChannel", DeprecationWarning, stacklevel=2)
        return RemoteChannel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
