"""Providers of models: wire codecs without I/O, and profiles, which are data."""

from three_mode.providers.capabilities import Capabilities, capabilities, describe
from three_mode.providers.catalogue import codec_of, profile_of, providers, register
from three_mode.providers.codec import ChunkDecoder, Codec, Headers, LimitReading, Outgoing
from three_mode.providers.profile import Profile

__all__ = [
    "Capabilities", "ChunkDecoder", "Codec", "Headers", "LimitReading", "Outgoing", "Profile", "capabilities", "codec_of",
    "describe", "profile_of", "providers", "register",
]  # fmt: skip
