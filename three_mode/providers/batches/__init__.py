"""Batches of a provider: many requests at once, answered within a day. Codecs of their endpoints, without I/O.

    codec = batch_codec(profile)
    line = codec.line(custom_id, body)                     one request of a batch; the body is that of a live call
    codec.upload(lines, name), codec.create(...)           requests that submit them
    codec.read(body)                                       a batch, as the provider describes it
    codec.outcome(line)                                    the result of one request

Bodies of requests and of replies are those of live calls, and their codec writes and reads them.
"""

from three_mode.errors import UnsupportedParameter
from three_mode.providers.batches.values import (
    BatchCodec,
    BatchPage,
    BatchState,
    LineOutcome,
    LineProblem,
    Marks,
    ProviderBatch,
    custom_id_in,
)
from three_mode.providers.profile import Profile

__all__ = [
    "BatchCodec",
    "BatchPage",
    "BatchState",
    "LineOutcome",
    "LineProblem",
    "Marks",
    "ProviderBatch",
    "batch_codec",
    "custom_id_in",
]


def batch_codec(profile: Profile) -> BatchCodec:
    """Codec of a provider's batch endpoints. A provider without any is an UnsupportedParameter."""
    if profile.batches is not None and profile.wire == "openai":
        from three_mode.providers.batches.openai import OpenAIBatches

        return OpenAIBatches(profile)
    if profile.batches is not None and profile.wire == "anthropic":
        from three_mode.providers.batches.anthropic import AnthropicBatches

        return AnthropicBatches(profile)
    raise UnsupportedParameter(
        f"{profile.name} is not known to take batches",
        field="later",
        provider=profile.name,
        hint="leave out later=True, and the requests run side by side; "
        "or register a Profile(batches=BatchTerms(...)) of a provider with OpenAI's or Anthropic's endpoints",
    )
