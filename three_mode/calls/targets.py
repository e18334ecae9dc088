"""Targets of a request, in order: by a route, by what its model's name says, or the connection's provider; then their
fallback."""

import asyncio
from collections.abc import Callable, Container, Sequence

from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.channels.channel import Endpoint
from three_mode.channels.local.names import how_to_get
from three_mode.config import Settings
from three_mode.dispatcher import HERE, target_of, unnamed
from three_mode.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InvalidRequest,
    ModeConflict,
    NotFound,
    ThreeModeError,
    UnsupportedParameter,
)
from three_mode.messages import LLMRequest
from three_mode.modes import CommunicationMode, resolve
from three_mode.policies import Policies, Router, Target
from three_mode.providers.catalogue import find_provider, providers
from three_mode.providers.safety import check_provider

WITHIN = 1.5  # seconds for all of them together: they are asked side by side


class ProviderChoice:
    """The provider of a connection: the one that is named, or the one that is found when a call first needs it, once
    for all calls that wait for it then. `name` is None until it is known."""

    def __init__(
        self, name: str | None, order: Sequence[str], accounts: ProviderAccounts, endpoint: Callable[[str], Endpoint]
    ) -> None:
        self.name, self.order = name, order
        self.detected = name is None
        """Whether nobody named it."""
        self._accounts, self._endpoint = accounts, endpoint
        self._finding: asyncio.Task[str] | None = None

    async def found(self, within: float | None = None) -> str:
        """`within` is how long this caller waits for it; the search goes on for the others."""
        if self.name is not None:
            return self.name
        if self._finding is None or (self._finding.done() and self._finding.cancelled()):
            self._finding = asyncio.ensure_future(first_available(self.order, self._accounts, self._endpoint))
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
    order: Sequence[str], accounts: ProviderAccounts, endpoint: Callable[[str], Endpoint], within: float = WITHIN
) -> str:
    """The first provider in order that has what it needs and can be reached; the rest of the order is not waited for. A
    single candidate is not asked."""
    candidates = [name for name in order if accounts.available(name)]
    if not candidates:
        wanted = ", ".join(
            f"{accounts.profile(name).env_name}_API_KEY" for name in order if accounts.profile(name).needs_key
        )
        raise ConfigurationError(
            f"no provider is available: none of {', '.join(order)} has what it needs",
            hint=f"set one of {wanted}, or give provider= and api_key=; "
            "models of this computer need none: three-mode models lists them",
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


class Targets:
    """Finds the targets of requests of one connection. `model` and `mode` are for requests that say none."""

    def __init__(
        self,
        provider: ProviderChoice,
        model: str | None,
        mode: CommunicationMode,
        settings: Settings,
        accounts: ProviderAccounts,
        policies: Policies,
        router: Router,
        local_names: Container[str],
        use_grpc: bool = False,
    ) -> None:
        """`use_grpc`: the connection's own provider is called over gRPC."""
        self._use_grpc = use_grpc
        self._provider, self._model, self._mode = provider, model, mode
        self._settings, self._accounts = settings, accounts
        self._router, self._local_names = router, local_names
        self._fallback = policies.fallback.targets
        wanted = policies.fallback.detected
        self._falls_to_detected = wanted or (wanted is None and provider.detected and not self._fallback)
        self._elsewhere = frozenset(
            target.provider
            for targets in (self._fallback, *(route.targets for route in policies.routes))
            for target in targets
        )
        self.bounds_first_content = bool(self._fallback) or not self._falls_to_detected
        """Whether a target that is slow to its first content is left for the next: not for one that was detected, since
        nobody said which others may answer, or how fast."""
        # A target, with those that answer when it does not: of the connection's own provider, and of any other.
        self._own_chains: dict[tuple[str, str], tuple[Target, ...]] = {}
        self._chains: dict[tuple[str, str], tuple[Target, ...]] = {}

    @property
    def default_model(self) -> str | None:
        """The model of the settings, for requests that name none."""
        return self._settings.model

    async def for_request(self, request: LLMRequest) -> tuple[Sequence[Target], str | None]:
        """The targets of a request, in order; and the name of the route that said so."""
        name = request.model or self._model or self._settings.model
        mode = request.mode if request.mode is not None else self._mode
        if request.provider is not None:
            return self._with_fallback(self._at(request.provider, request)), None
        if name is not None:
            if name in self._router.names:
                return self._router.order(name, request), name
            target = self._addressed(name, mode)
            if target is not None:
                return (self._with_fallback(target) if target.provider in HERE else [target]), None
            if "/" in name and (target := self._prefixed(name)) is not None:
                return self._with_fallback(target), None
            if self._provider.detected and (how := how_to_get(name)):
                raise NotFound(f"the model `{name}` is not on this computer yet", hint=how, model=name)
        elif mode not in (CommunicationMode.AUTO, CommunicationMode.HUMAN_AI):
            raise unnamed(mode)
        provider = self._provider.name or await self._provider.found(request.within)
        model = request.model or self._model or self._accounts.model(provider) or self._settings.model
        if model is None:
            raise _no_model(provider, self._accounts)
        chain = self._own_chains.get((provider, model))
        return chain or self._with_fallback(self._target(provider, model), own=True), None

    async def for_embedding(self, model: str | None, within: float | None, verb: str = "embed") -> Target:
        """The one target that embeds, or reranks: there is no fallback, see embedding.py."""
        name = model or self._model
        target = self._addressed(name, self._mode) if name is not None else None
        if target is None and name is not None and "/" in name:
            target = self._prefixed(name)
        if target is not None:
            return target
        provider = await self._provider.found(within)
        if name is None:
            raise InvalidRequest(f"{verb} names no model", field="model", provider=provider)
        return self._target(provider, name)

    @property
    def named_providers(self) -> frozenset[str]:
        """The providers that the connection's arguments and settings name, fallback and routes included."""
        own = self._provider.name
        return self._elsewhere if own is None else self._elsewhere | {own}

    def default_models(self) -> dict[str, str]:
        """The model that the connection itself names for its own provider, by that provider's name."""
        own = self._provider.name
        named = self._model or self._settings.model
        if own is None or named is None or named in self._router.names:
            return {}
        return {} if self._addressed(named, self._mode) is not None else {own: named}

    async def providers(self) -> set[str]:
        """The providers that may be called."""
        own = await self._provider.found()
        detected = {target.provider for target in self._detected(own)} if self._falls_to_detected else set()
        return {own, *self._elsewhere, *detected}

    def named_provider(self, model: str) -> str | None:
        """The other provider that the name of a model begins with; None where it is the name of a model of the
        connection's own provider, an address, or a route."""
        if "/" not in model or model in self._router.names or self._addressed(model, self._mode) is not None:
            return None
        target = self._prefixed(model)
        return None if target is None or target.provider == self._provider.name else target.provider

    def has_target(self, model: str) -> bool:
        """Whether a request for this model has a target: by its name, or a provider that can be tried."""
        if self._provider.name is not None or model in self._router.names:
            return True
        if self._addressed(model, self._mode) is not None:
            return True
        return any(map(self._accounts.available, self._provider.order))

    @property
    def mode(self) -> CommunicationMode:
        """The mode of requests that name none."""
        return self._mode

    def check_safety(self) -> None:
        """Raise ConfigurationError where a provider that is known by now has no settings of safety, and some are
        wanted. A provider that is found later is checked at its first call."""
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

    def _prefixed(self, name: str) -> Target | None:
        """The target of `PROVIDER/MODEL`; None where that is a model's own name: its prefix is no provider's name, or
        the connection's provider has models of many vendors."""
        prefix, _, model = name.partition("/")
        provider, own = find_provider(prefix), None if self._provider.detected else self._provider.name
        if provider is None or not model:
            return None
        if own is not None and self._accounts.takes_vendor_names(own):
            itself = provider == own and self._accounts.profile(own).vendor_names
            if not itself and not self._accounts.is_listed(provider):
                return None
        return self._target(provider, model)

    def _at(self, provider: str, request: LLMRequest) -> Target:
        """The target of a request that names its provider."""
        mode, model = request.mode, request.model
        addressed = model is not None and (target_of(resolve(model)) is not None or "://" in model)
        if mode not in (None, CommunicationMode.AUTO, CommunicationMode.HUMAN_AI) or addressed:
            said = repr(model) if addressed or mode is None else f"the mode {mode.name}"
            raise ModeConflict(
                f"the request names the provider {provider!r}, and {said}",
                field="provider",
                hint="leave one of them out",
            )
        known = provider if "://" in provider or provider == self._provider.name else find_provider(provider)
        if known is None:
            raise InvalidRequest(
                f"unknown provider {provider!r}",
                field="provider",
                hint=f"one of {', '.join(providers())}; or the URL of an OpenAI-compatible API",
            )
        if model is None:
            model = self._accounts.model(known)
            if known == self._provider.name:
                mine = (
                    self._model
                    if self._model and self._addressed(self._model, CommunicationMode.AUTO) is None
                    else None
                )
                model = mine or model or self._settings.model
        if model is None:
            raise _no_model(known, self._accounts)
        prefix, _, rest = model.partition("/")
        if rest and find_provider(prefix) == known and not self._accounts.takes_vendor_names(known):
            model = rest
        return self._target(known, model)

    def _target(self, provider: str, model: str) -> Target:
        """A model of a provider, over gRPC where the connection's own provider is called so and has an address for
        it."""
        own = self._use_grpc and provider == self._provider.name
        return Target(provider, model, grpc=own and self._accounts.grpc_url(provider) is not None)

    def _with_fallback(self, first: Target, own: bool = False) -> Sequence[Target]:
        """The target with those that answer when it does not. `own`: the request named neither provider nor address."""
        chains, key = self._own_chains if own else self._chains, (first.provider, first.model)
        found = chains.get(key)
        if found is None:
            if len(chains) > 1000:
                chains.clear()
            others = [target for target in self._fallback if target != first]
            if own and self._falls_to_detected:
                others += self._detected(first.provider)
            found = chains[key] = (first, *others)
        return found

    def _detected(self, own: str) -> list[Target]:
        """The other available providers in the order of detection, each with its default model."""
        found = []
        for name in self._provider.order:
            known = find_provider(name) or name
            model = self._accounts.answering_model(known) if known != own else None
            if model is not None and self._accounts.available(known):
                found.append(Target(known, model))
        return found


def _no_model(provider: str, accounts: ProviderAccounts) -> InvalidRequest:
    return InvalidRequest(
        "the request names no model",
        field="model",
        provider=provider,
        hint=f"set model=, a default model on the connection, or {accounts.profile(provider).env_name}_MODEL",
    )
