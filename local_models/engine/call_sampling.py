"""Call sampling: how the tokens of a call are chosen, from its options, its grammar and the marks of its answer."""

from collections.abc import Sequence
from random import getrandbits

from local_models.backend import GenerationRequest
from local_models.errors import BadGrammar
from local_models.llama import Sampler, Sampling, Weights
from local_models.prompts.gbnf import check_grammar

LONG_GRAMMAR = 2_048  # characters; longer grammars are checked and built on a thread
_FOR_EVER = 1 << 62  # tokens


def _is_sound(grammar: str) -> bool:
    """Whether llama.cpp takes a grammar, which names no tokens."""
    try:
        return not check_grammar(grammar)
    except BadGrammar:
        return False


class CallSampling:
    """Makes the sampling of calls, from any thread."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._marks: dict[str, int] = {}  # text -> token, see `_token_of`

    def of(self, request: GenerationRequest) -> Sampling:
        """Returns the sampling of a call; without a seed it gets a random one.

        A grammar that begins behind a mark is a help that some tools cannot have, whose grammar is too large.
        """
        options, grammar, opens = request.options, request.grammar, request.opens
        if opens is not None and not _is_sound(grammar):
            grammar, opens = "", None
        return Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            min_p=options.min_p,
            repeat_penalty=options.repeat_penalty,
            frequency_penalty=options.frequency_penalty,
            presence_penalty=options.presence_penalty,
            penalty_window=options.penalty_window,
            seed=options.seed if options.seed is not None else getrandbits(31),
            grammar=grammar,
            opens=opens,
            shown=self._shown(request.shows),
            bias={int(token): value for token, value in options.logit_bias.items()},
            least=_FOR_EVER if options.ignore_eos else options.min_tokens,
        )

    def built(self, request: GenerationRequest) -> Sampler | None:
        """Returns the sampler of a call whose grammar takes long to build; None: it is built with its first step."""
        if len(request.grammar) <= LONG_GRAMMAR:
            return None
        with self._weights.in_use():
            return Sampler(self._weights, self.of(request))

    def _shown(self, marks: Sequence[str]) -> dict[int, bytes]:
        """Control tokens that are marks of an answer, with their texts: they have none otherwise."""
        tokens = {mark: self._token_of(mark) for mark in marks}
        return {token: mark.encode() for mark, token in tokens.items() if token >= 0 and not self._weights.piece(token)}

    def _token_of(self, mark: str) -> int:
        """The token that a text is; -1 where it is several."""
        token = self._marks.get(mark)
        if token is None:
            tokens = self._weights.tokenize(mark, special=True, start=False)
            token = self._marks[mark] = tokens[0] if len(tokens) == 1 else -1
        return token
