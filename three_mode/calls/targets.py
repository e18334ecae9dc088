"""Who may answer a request, in order: by a route, by what its model's name says, or the connection's provider; then their fallback."""

from collections.abc import Container, Sequence

from three_mode.calls.accounts import Accounts
from three_mode.calls.detection import Provider
from three_mode.config import Settings
from three_mode.dispatcher import HERE, target_of, unnamed
from three_mode.errors import ConfigurationError, InvalidRequest, UnsupportedParameter
from three_mode.messages import LLMRequest
from three_mode.modes import CommunicationMode, resolve
from three_mode.policies import Policies, Router, Target
from three_mode.providers.safety import check_provider


class Targets:
    """Those of one connection. `model` and `mode` are for requests that say none."""

    def __init__(
        self,
        provider: Provider,
        model: str | None,
        mode: CommunicationMode,
        settings: Settings,
        accounts: Accounts,
        policies: Policies,
        router: Router,
        local_names: Container[str],
    ) -> None:
        self._provider, self._model, self._mode = provider, model, mode
        self._settings, self._accounts = settings, accounts
        self._router, self._local_names = router, local_names
        self._fallback = policies.fallback.targets
        self._elsewhere = frozenset(
            target.provider
            for targets in (self._fallback, *(route.targets for route in policies.routes))
            for target in targets
        )
        # A target, with those that answer when it does not.
        self._chains: dict[tuple[str, str], tuple[Target, ...]] = {}

    async def of(self, request: LLMRequest) -> tuple[Sequence[Target], str | None]:
        """Who may answer, in order; and the route that said so."""
        name = request.model or self._model or self._settings.model
        mode = request.mode if request.mode is not None else self._mode
        if name is not None:
            if self._router.knows(name):
                return self._router.order(name, request), name
            target = self._addressed(name, mode)
            if target is not None:
                return (self._with_fallback(target) if target.provider in HERE else [target]), None
        elif mode not in (CommunicationMode.AUTO, CommunicationMode.HUMAN_AI):
            raise unnamed(mode)
        provider = self._provider.name or await self._provider.found(request.within)
        model = request.model or self._model or self._accounts.model(provider) or self._settings.model
        if model is None:
            raise InvalidRequest(
                "the request names no model",
                field="model",
                provider=provider,
                hint=f"set model=, a default model on the connection, or {self._accounts.profile(provider).env_name}_MODEL",
            )
        return self._chains.get((provider, model)) or self._with_fallback(Target(provider, model)), None

    async def embedder(self, model: str | None, within: float | None) -> Target:
        """Who embeds. Nobody else does where that one does not; see embedding.py."""
        name = model or self._model
        target = self._addressed(name, self._mode) if name is not None else None
        if target is not None:
            return target
        provider = await self._provider.found(within)
        if name is None:
            raise InvalidRequest("embed names no model", field="model", provider=provider)
        return Target(provider, name)

    async def providers(self) -> set[str]:
        """All that may be called."""
        return {await self._provider.found(), *self._elsewhere}

    def check_safety(self) -> None:
        """That all providers that are known by now have settings of safety, where some are wanted. One that is found later is
        checked at its first call."""
        names = self._elsewhere | self._accounts.with_safety
        if self._provider.name is not None:
            names |= {self._provider.name}
        for name in names:
            try:
                check_provider(self._accounts.profile(name))
            except UnsupportedParameter as error:
                raise ConfigurationError(error.message, hint=error.hint) from None

    def _addressed(self, name: str, mode: CommunicationMode) -> Target | None:
        """The target that a name says by itself; None for the model of a provider that is still to be found."""
        target = target_of(resolve(name, mode, self._local_names))
        if target is None and "://" in name:
            url, _, named = name.partition("#")
            return Target(url, named or "default")
        return target

    def _with_fallback(self, first: Target) -> Sequence[Target]:
        key = (first.provider, first.model)
        found = self._chains.get(key)
        if found is None:
            if len(self._chains) > 1000:
                self._chains.clear()
            found = self._chains[key] = (first, *(target for target in self._fallback if target != first))
        return found
