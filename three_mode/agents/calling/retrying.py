"""Retries of asks, where the caller wants more of them than `ask` itself makes: of idempotent handlers alone."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from three_mode.agents.calling.caller import Handler
from three_mode.agents.handlers.declare import spec_of
from three_mode.errors import BadCall, ConfigurationError, ThreeModeError
from three_mode.frozen_options import FrozenOptions
from three_mode.handling import current, time_for

if TYPE_CHECKING:
    from three_mode.agents.calling.signatures import AskVerb


class Retry(FrozenOptions, frozen=True):
    """How often a call is tried, and when: the wait grows from `first` by `factor` up to `most`, less some chance."""

    attempts: int = 3
    """Most attempts, the first one included."""
    each: float | None = None
    """Seconds of one attempt, after which the next begins; None: all that is left."""
    first: float = 0.05
    """Seconds before the second attempt."""
    factor: float = 2.0
    """Growth of the wait from attempt to attempt."""
    most: float = 5.0
    """Most seconds of a wait."""

    def wait(self, failures: int, error: ThreeModeError, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after so many failures: at least what the error says."""
        grown = min(self.most, self.first * self.factor ** (failures - 1))
        return max(error.retry_after or 0.0, grown * (1.0 - 0.5 * chance()))


class Askable(Protocol):
    """Interface of a reference whose calls are tried again."""

    name: str

    @property
    def ask(self) -> Any:
        """Call a handler."""
        ...


class RetryingRef:
    """An agent, or any of a role, whose asks are tried again: `ref.retrying(...)` makes it."""

    __slots__ = ("_default_within", "_ref", "retry")

    def __init__(self, ref: Askable, retry: Retry, default_within: float) -> None:
        given: Any = retry
        if not isinstance(given, Retry) or retry.attempts < 1 or min(retry.first, retry.most, retry.factor) < 0.0:
            raise ConfigurationError(f"{retry!r} says no way to try again", hint="Retry(attempts=3, first=0.05)")
        if retry.each is not None and retry.each <= 0.0:
            raise ConfigurationError(f"each is the time of one attempt, not {retry.each!r}", hint="Retry(each=1.0)")
        self._ref, self.retry, self._default_within = ref, retry, default_within

    @property
    def name(self) -> str:
        """Name of the agent or the role."""
        return self._ref.name

    if TYPE_CHECKING:

        @property
        def ask(self) -> AskVerb: ...

    else:

        async def ask(self, handler: Handler, /, *args: Any, within: float | None = None, **kwargs: Any) -> Any:
            """Call an idempotent handler; try again while its agent is lost, full or silent, as `Retry` says.

            `within`: seconds for all attempts together. BadCall for a handler without `idempotent=True`, and for one
            that is named by a string: nobody here knows whether it may be asked twice.
            """
            self._check(handler)
            retry, failures = self.retry, 0
            ends = time.monotonic() + time_for(within, current.get(), self._default_within)
            while True:
                left = ends - time.monotonic()
                seconds = left if retry.each is None else min(left, retry.each)
                try:
                    return await self._ref.ask(handler, *args, within=max(0.001, seconds), **kwargs)
                except ThreeModeError as error:
                    failures += 1
                    wait = retry.wait(failures, error)
                    if not error.retryable or failures >= retry.attempts or time.monotonic() + wait >= ends:
                        raise
                await asyncio.sleep(wait)

    def _check(self, handler: Handler) -> None:
        if isinstance(handler, str):
            raise BadCall(
                f"{self.name}.{handler} is named by a string, which does not say whether it may be asked twice",
                hint="name it by its function: ask(Scout.score, ...)",
                agent=self.name,
                handler=handler,
            )
        spec = spec_of(handler)
        if not spec.idempotent:
            raise BadCall(
                f"{self.name}.{spec.name} is not idempotent: asked twice, it may do its work twice",
                hint="@handler(idempotent=True), if two calls have the effect of one; or ask without retrying",
                agent=self.name,
                handler=spec.name,
            )

    def __repr__(self) -> str:
        return f"RetryingRef({self.name!r}, {self.retry!r})"
