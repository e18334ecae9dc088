"""Which provider, if none is named: the first of an order that has what it needs and can be reached."""

import asyncio
from collections.abc import Callable, Sequence

from three_mode.calls.accounts import Accounts
from three_mode.channels.human_ai import Endpoint
from three_mode.errors import ConfigurationError, DeadlineExceeded, ThreeModeError

WITHIN = 1.5  # seconds for all of them together: they are asked side by side


class Provider:
    """The provider of a connection: the one that is named, or the one that is found when a call first needs it, once for all calls
    that wait for it then. `name` is None until it is known."""

    def __init__(
        self, name: str | None, order: Sequence[str], accounts: Accounts, endpoint: Callable[[str], Endpoint]
    ) -> None:
        self.name = name
        self._order, self._accounts, self._endpoint = order, accounts, endpoint
        self._finding: asyncio.Task[str] | None = None

    async def found(self, within: float | None = None) -> str:
        """`within` is how long this caller waits for it; the search goes on for the others."""
        if self.name is not None:
            return self.name
        if self._finding is None or (self._finding.done() and self._finding.cancelled()):
            self._finding = asyncio.ensure_future(first_available(self._order, self._accounts, self._endpoint))
        try:
            async with asyncio.timeout(within):
                self.name = await asyncio.shield(self._finding)
        except ConfigurationError:
            self._finding = None
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._finding.cancelled() or (task is not None and task.cancelling()):
                raise
            raise ConfigurationError(  # the search was ended, and nobody cancelled this caller
                "this connection is closed", hint="make a new LLMConnection"
            ) from None
        except TimeoutError:
            raise DeadlineExceeded(
                "no provider was reached in the time allowed",
                stage="connect",
                hint="give provider=, and none is looked for",
            ) from None
        return self.name

    def close(self) -> None:
        if self._finding is not None:
            self._finding.cancel()


async def first_available(
    order: Sequence[str], accounts: Accounts, endpoint: Callable[[str], Endpoint], within: float = WITHIN
) -> str:
    """With one candidate there is nothing to find out. With more, the first in order that a connection reaches: the rest
    of the order is not waited for."""
    candidates = [name for name in order if accounts.available(name)]
    if not candidates:
        wanted = ", ".join(
            f"{accounts.profile(name).env_name}_API_KEY" for name in order if accounts.profile(name).needs_key
        )
        raise ConfigurationError(
            f"no provider is available: none of {', '.join(order)} has what it needs",
            hint=f"set one of {wanted}, or give provider= and api_key=; models of this computer need none: three-mode models lists them",
        )
    if len(candidates) == 1:
        return candidates[0]
    tasks = [asyncio.ensure_future(_reached(endpoint, name, within)) for name in candidates]
    try:
        for name, task in zip(candidates, tasks, strict=True):
            if await task:
                return name
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return candidates[0]  # none was reached: the call itself will say why


async def _reached(endpoint: Callable[[str], Endpoint], name: str, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await endpoint(name).warm(within)
    except (ThreeModeError, TimeoutError):
        return False
    return True
