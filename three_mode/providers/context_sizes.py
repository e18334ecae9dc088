"""Sizes that a refusal of a too long prompt names: its tokens, and the most that fit. Pure.

Providers say them in words alone, each in its own:

    This model's maximum context length is 8192 tokens. However, your messages resulted in 9150 tokens.
    prompt is too long: 210000 tokens > 200000 maximum
    The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).
"""

import re

_NUMBER = r"\(?(\d[\d,_]*)\)?"
# What fits; of several that match, the first one holds.
_ROOM = (
    rf"maximum context length (?:is|of) {_NUMBER}",
    rf"context (?:length|window|size)[^\d.]{{0,30}}{_NUMBER}",
    rf"{_NUMBER} maximum context length",
    rf"> {_NUMBER}",
    rf"length should be \[1, {_NUMBER}\]",
    rf"(?:maximum|at most|limit)[^\d.]{{0,40}}{_NUMBER}",
)
# What was sent, with the tokens asked for where a provider adds them.
_SENT = (
    rf"(?:resulted in|requested|contains|has|includes?) (?:about |at least )?{_NUMBER}",
    r"(?:too long|exceeds? context limit): (\d[\d,_]*(?: \+ \d[\d,_]*)?)",
    rf"(?:input )?token count[^\d.]{{0,12}}{_NUMBER}",
    rf"requested[^\d.]{{0,12}}{_NUMBER}",
    rf"request \({_NUMBER} tokens\)",
)


def sizes_in(message: str) -> tuple[int | None, int | None]:
    """Tokens of the prompt, and the most that fit; None for what the message does not say, or not in a way that makes
    sense."""
    sent, room = _first(_SENT, message), _first(_ROOM, message)
    if sent is not None and room is not None and sent <= room:
        return None, None  # the numbers mean something else
    return sent, room


def _first(patterns: tuple[str, ...], message: str) -> int | None:
    for pattern in patterns:
        found = re.search(pattern, message, re.IGNORECASE)
        if found:
            return sum(int(each.strip().replace(",", "").replace("_", "")) for each in found[1].split("+"))
    return None
