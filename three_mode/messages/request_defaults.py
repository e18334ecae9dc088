"""Defaults of requests: what a connection, a provider or a config file says where a request does not."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import force_setattr

from three_mode.errors import ConfigurationError, InvalidRequest
from three_mode.frozen_options import FrozenOptions
from three_mode.messages import checks
from three_mode.messages.options import Reasoning


class RequestDefaults(FrozenOptions, frozen=True, kw_only=True):
    """Defaults of requests: `RequestDefaults(temperature=0.2)`. A request's own value wins.

    A default goes only to a provider and model that can take it; None leaves the choice to them.
    """

    temperature: float | None = None  #: randomness of the choice of tokens; 0 is greedy
    top_p: float | None = None  #: share of the probability to choose from, above 0 and at most 1
    max_tokens: int | None = None  #: most tokens of the answer
    stop: tuple[str, ...] = ()  #: texts that end the answer
    seed: int | None = None  #: seed of the choice of tokens
    reasoning: Reasoning | Mapping[str, Any] | str | None = None  #: how much the model may think; "low" will do

    def __post_init__(self) -> None:
        try:
            if self.stop != ():
                force_setattr(self, "stop", checks.stop(self.stop))
            if self.reasoning is not None:
                force_setattr(self, "reasoning", checks.option(self.reasoning, "reasoning"))
            checks.check_numbers(self)
        except InvalidRequest as error:
            raise ConfigurationError(f"a default of requests: {error.message}", hint=error.hint) from None

    def over(self, other: "RequestDefaults") -> "RequestDefaults":
        """These defaults, and those of `other` where these say nothing."""
        if other == NOTHING:
            return self
        return RequestDefaults(**(other.said() | self.said()))

    def said(self) -> dict[str, Any]:
        """The fields that say something."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) not in (None, ())}


NOTHING = RequestDefaults()
