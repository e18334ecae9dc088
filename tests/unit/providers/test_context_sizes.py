"""Sizes in refusals of prompts that are too long, in the words of each provider."""

import pytest

from three_mode.errors import ContextLength, InvalidRequest
from three_mode.providers import profile_of
from three_mode.providers.context_sizes import sizes_in
from three_mode.providers.refusals import refusal

WORDS = [
    ("This model's maximum context length is 8192 tokens. However, your messages resulted in 9150.", (9150, 8192)),
    ("This model's maximum context length is 4097 tokens, however you requested 4927 tokens (3927 in", (4927, 4097)),
    ("prompt is too long: 210000 tokens > 200000 maximum", (210_000, 200_000)),
    ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease one", (210_000, 200_000)),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", (1_200_000, 1_048_576)),
    ("The input token count exceeds the maximum number of tokens allowed 1048576.", (None, 1_048_576)),
    (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        (40_000, 32_768),
    ),
    ("request (9001 tokens) exceeds the available context size (4096 tokens), try increasing it", (9001, 4096)),
    ("Request too large for model `x` on tokens per minute (TPM): Limit 6,000, Requested 7,262", (7262, 6000)),
    ("Range of input length should be [1, 30720]", (None, 30_720)),
    ("Input is too long for requested model.", (None, None)),
    ("Your input exceeds the context window of this model. Please adjust your input and try again.", (None, None)),
    ("the input length exceeds the context length", (None, None)),
    ("the maximum context length is 8192, and the prompt has 12 tokens", (None, None)),  # they contradict each other
]


@pytest.mark.parametrize(("words", "sizes"), WORDS)
def test_the_sizes_that_are_named(words: str, sizes: tuple[int | None, int | None]) -> None:
    assert sizes_in(words) == sizes
    error = refusal(profile_of("openai"), 400, [], words)
    assert isinstance(error, ContextLength)
    assert (error.tokens, error.room) == sizes


def test_another_refusal_is_none() -> None:
    error = refusal(profile_of("openai"), 400, [], "messages: 3 roles are wrong, at most 2 may be")
    assert type(error) is InvalidRequest
