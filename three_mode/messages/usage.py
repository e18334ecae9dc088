"""Usage of a call, counted in one way for every provider."""

from decimal import Decimal

from msgspec import Struct


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens and money. Input includes tokens read from and written to a cache; output includes reasoning.

    Usages can be added; a sum with an unknown cost is unknown.
    """

    input_tokens: int = 0  #: tokens of the prompt
    output_tokens: int = 0  #: tokens of the answer
    cache_read_tokens: int = 0  #: part of the input that came from the provider's cache
    cache_write_tokens: int = 0  #: part of the input that was written to the provider's cache
    reasoning_tokens: int = 0  #: part of the output that is thinking
    cost: Decimal | None = None  #: US dollars; None where the price is not known, rather than 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def prompt_tokens(self) -> int:
        """`input_tokens`, as OpenAI calls it."""
        return self.input_tokens

    @property
    def completion_tokens(self) -> int:
        """`output_tokens`, as OpenAI calls it."""
        return self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """Sums two calls; a sum with an unknown cost is unknown, unless the other usage is empty."""
        if self == NOTHING:
            return other
        if other == NOTHING:
            return self
        known = self.cost is not None and other.cost is not None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost=self.cost + other.cost if known else None,  # type: ignore[operator]
        )


NOTHING = Usage()
