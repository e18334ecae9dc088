"""Call guess: what is proposed for one call, and how often that was right. Pure."""

from collections.abc import Sequence

from local_models.scheduling.prefix_trie import common_prefix_length
from local_models.speculation.acceptance import CallAcceptance, GuessSource, ModelAcceptance, text_source
from local_models.speculation.choice import MOST, expected_tokens
from local_models.speculation.shared_table import LENGTH, SharedTable
from local_models.speculation.text_lookup import LONG, TextLookup

LEARNED_TOGETHER = 16  # tokens of an answer that are entered into the shared table at once


class CallGuess:
    """Guess at the next tokens of a call, from its own text and from the table that all calls share."""

    __slots__ = ("_acceptance", "_guessed_at", "_learned", "_table", "_text", "rate", "source", "tokens")

    def __init__(self, prompt: int, model: ModelAcceptance, table: SharedTable) -> None:
        self._acceptance = CallAcceptance(model)
        self._table = table
        self._text = TextLookup()
        self._learned = prompt  # tokens of the text that the table has, or that are of the prompt
        self._guessed_at = 0
        self.tokens: list[int] = []
        """Guess that was made last; empty: there was none."""
        self.source = GuessSource.SHARED
        self.rate = 0.0
        """Chance that the first token is right, and each later one if those before it are."""

    def make(self, text: Sequence[int], ends: frozenset[int]) -> None:
        """Makes the next guess, behind counting how much of the last one was right."""
        self.settle(text)
        self._text.extend(text[len(self._text) :])
        if len(text) - self._learned >= LEARNED_TOGETHER:
            self.learn(text)
        tokens, source = self._text.propose(MOST), text_source(self._text.alike)
        rate = self._acceptance.rate(source)
        if self._text.alike < LONG and (shared := self._table.propose(text[-LENGTH:], MOST)):
            shared_rate = self._acceptance.rate(GuessSource.SHARED)
            likely = expected_tokens(len(tokens), rate)
            if expected_tokens(len(shared), shared_rate) > likely:
                tokens, source, rate = shared, GuessSource.SHARED, shared_rate
        if not ends.isdisjoint(tokens):
            tokens = tokens[: next(at for at, token in enumerate(tokens) if token in ends)]
        self.tokens, self.source, self.rate, self._guessed_at = tokens, source, rate, len(text)

    def settle(self, text: Sequence[int]) -> None:
        """Counts how much of the last guess was right, whether or not it was put into a step."""
        written = text[self._guessed_at : self._guessed_at + len(self.tokens)]
        if written:
            right = common_prefix_length(self.tokens, written)
            self._acceptance.record(self.source, right, int(right < len(written)))
            self.tokens = []

    def draft_rate(self) -> float:
        """Returns the chance that a token of the draft model is right."""
        return self._acceptance.rate(GuessSource.DRAFT)

    def drafted(self, tokens: list[int], text: Sequence[int]) -> None:
        """Takes tokens of a draft model as the guess."""
        self.tokens, self.source, self._guessed_at = tokens, GuessSource.DRAFT, len(text)

    def learn(self, text: Sequence[int]) -> None:
        """Enters the tokens that the call has written into the shared table."""
        self._table.learn(text, self._learned)
        self._learned = len(text)
