"""Providers of models: codecs of wire formats, without I/O, and profiles, which are data."""

from three_mode.providers.capabilities import Capabilities, capabilities, describe
from three_mode.providers.catalogue import codec_of, profile_of, providers, register
from three_mode.providers.codec import ChunkDecoder, Codec, Headers, LimitReading, Outgoing
from three_mode.providers.estimate import estimate_tokens
from three_mode.providers.profile import BatchTerms, Profile
from three_mode.providers.tools import call_tool, tool_from

__all__ = [
    "BatchTerms",
    "Capabilities",
    "ChunkDecoder",
    "Codec",
    "Headers",
    "LimitReading",
    "Outgoing",
    "Profile",
    "call_tool",
    "capabilities",
    "codec_of",
    "describe",
    "estimate_tokens",
    "profile_of",
    "providers",
    "register",
    "tool_from",
]
