"""Prepare a call: its targets, time and label; and its request as one target takes it, with the budget that is reserved
for it."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from three_mode.calls.call_log import ActiveCall, CallLog, FailedFirstAttempt, new_request_id
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.targets import Targets
from three_mode.config import Settings
from three_mode.dispatcher import AGENT
from three_mode.errors import ConfigurationError
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import LLMRequest, Usage
from three_mode.policies import Absences, CallContext, Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.capabilities import capabilities
from three_mode.providers.emulation import with_tools_in_prompt
from three_mode.providers.estimate import estimate_tokens
from three_mode.providers.fitting import NOT_FITTED, FittedDefaults
from three_mode.providers.validate import check

if TYPE_CHECKING:
    from three_mode.events.values import CallVerb

PRICES_LAST = 10.0  # seconds
MOST_TARGETS = 1000  # targets whose defaults are kept
UNSAID_OUTPUT = 4096  # what a call may answer where neither it nor the table says how much
_Size = tuple[str, str, int, int | None]  # provider, model, tokens of the prompt, and the most that were asked for


class RequestPrep:
    """Prepares requests for the targets of one connection."""

    def __init__(self, accounts: ProviderAccounts, log: CallLog) -> None:
        self._accounts = accounts
        self._log = log
        # What calls may cost at most, by their size; prices may change with the minute.
        self._most: dict[_Size, Decimal] = {}
        self._forgotten_at = 0.0
        self._defaults: dict[tuple[str, str], FittedDefaults | None] = {}

    def prepare(self, call: ActiveCall, target: Target) -> tuple[LLMRequest, bool]:
        """The request as the target takes it, and whether its tools are emulated. Raises what the target cannot do."""
        return self.fit(call.request, target, call.context.tokens)

    def fit(self, request: LLMRequest, target: Target, tokens: int) -> tuple[LLMRequest, bool]:
        """The same of a request that is no call yet, and has about so many tokens."""
        profile = self._accounts.profile(target.provider)
        defaults = self._defaults.get((target.provider, target.model), NOT_FITTED)
        if defaults is NOT_FITTED:
            defaults = self._fit_defaults(target)
        if defaults is not None:
            request = defaults.applied_to(request)
        emulated = bool(request.tools) and not capabilities(target.model).tools
        if emulated:
            request = with_tools_in_prompt(request)
        check(request, target.model, profile, tokens)
        return request, emulated

    def _fit_defaults(self, target: Target) -> FittedDefaults | None:
        if len(self._defaults) > MOST_TARGETS:
            self._defaults.clear()
        provider, model = target.provider, target.model
        found = self._defaults[provider, model] = self._accounts.fitted_defaults(provider, model)
        return found

    def reserve(self, call: ActiveCall, request: LLMRequest, target: Target, price: Decimal | None = None) -> Decimal:
        """Set aside the most that the call may cost; what was set aside. `price` is the share of the usual price."""
        ledger = self._log.ledger
        if not ledger.has_budgets:
            return ZERO
        asked, tokens = request.max_tokens, call.context.tokens
        if tokens > 31:
            # An estimate is no finer than a sixteenth: so there are few sizes whose price must be worked out.
            grain = 1 << tokens.bit_length() - 5
            tokens = (tokens + grain - 1) // grain * grain
        key = (target.provider, target.model, tokens, asked)
        most = self._most.get(key) if call.context.began < self._forgotten_at else None
        if most is None:
            most = self._cost(key, target, call.context.began)
        if price is not None and most is not None:
            most *= price
        return ledger.reserve(target.provider, target.model, call.label, most)

    def release(self, label: str | None, target: Target, reserved: Decimal) -> None:
        """Free what was set aside for a call that is not made."""
        self._log.ledger.settle(target.provider, target.model, label, reserved, None)

    def _cost(self, key: _Size, target: Target, now: float) -> Decimal | None:
        if now >= self._forgotten_at or len(self._most) > 1000:
            self._most.clear()
            self._forgotten_at = now + PRICES_LAST
        _, _, tokens, asked = key
        most_out = asked or capabilities(target.model).max_output or UNSAID_OUTPUT
        profile = self._accounts.profile(target.provider)
        # A prompt that the provider writes into its cache costs more than one that it does not keep.
        usages = (Usage(tokens, most_out), Usage(tokens, most_out, cache_write_tokens=tokens))
        costs = [cost for usage in usages if (cost := self._log.cost(target, usage, profile)) is not None]
        if not costs:
            return None
        most = self._most[key] = max(costs)
        return most


class CallDefaults:
    """Defaults of calls whose request does not say: their time, and the label of who pays for them."""

    def __init__(
        self, accounts: ProviderAccounts, settings: Settings, timeout: float | None, label: str | None
    ) -> None:
        self._accounts, self._settings, self._timeout = accounts, settings, timeout
        self.label = label

    def label_of(self, request: LLMRequest) -> str | None:
        """The label in the request's metadata, or the connection's."""
        label = self.label
        if request.metadata:
            label = request.metadata.get("label", label)
        return None if label is None else str(label)

    def time_limit(self, asked: float | None, provider: str) -> float:
        """The seconds of a call; inside an agent's handler no more than what remains of its call."""
        return time_for(asked or self.default_time_limit(provider), handled.get())

    def default_time_limit(self, provider: str) -> float:
        """The seconds of a call that asks for no number of its own."""
        return self._timeout or self._accounts.settings(provider).timeout or self._settings.timeout


class CallPreparation:
    """Makes the calls of one connection: their targets, time, label and size. `learn` hears of each call to an agent
    that goes the normal way."""

    def __init__(
        self,
        targets: Targets,
        accounts: ProviderAccounts,
        defaults: CallDefaults,
        first_content: float,
        log: CallLog,
        learn: Callable[[LLMRequest, Target], None],
        absences: Absences,
    ) -> None:
        self._absences = absences
        self._targets, self._accounts, self._defaults = targets, accounts, defaults
        self._first_content, self._log, self._learn = first_content, log, learn
        self._closed = False
        self.learn_provider: Callable[[LLMRequest, Target], None] | None = None
        """Hears of each call to a provider that goes the normal way, and whose first attempt has no limit but its
        deadline; None: nobody wants to know."""

    async def prepare(
        self,
        request: LLMRequest,
        failed: FailedFirstAttempt | None = None,
        verb: "CallVerb" = "chat_completion",
    ) -> tuple[ActiveCall, Sequence[Target]]:
        """The call of a request, and the targets that may answer it. `failed` is how a first attempt ended, where one
        was made."""
        self.check_open()
        began, request_id = time.monotonic(), new_request_id()
        try:
            targets, route = await self._targets.for_request(request)
            targets, changed, why = self._absences.settled(targets)
            first = targets[0]
            within = self._defaults.time_limit(request.within, first.provider)
            profile = self._accounts.profile(first.provider)
        except BaseException as error:
            if self._log.events is not None:
                self._log.events.refuse(request, request_id, self._defaults.label_of(request), verb, error)
            raise
        if first.provider == AGENT and route is None and not self._closed:
            self._learn(request, first)
        label, slow_moves_on = self._defaults.label_of(request), route is not None or self._targets.bounds_first_content
        context = CallContext(
            deadline=began + within,
            began=began,
            request_id=request_id,
            caller=str(request.metadata.get("caller") or label or ""),
            tokens=estimate_tokens(request, first.model, profile.multiplier(first.model)),
            first_content=self._first_content if len(targets) > 1 and slow_moves_on else None,
            slow_moves_on=slow_moves_on,
        )
        if self.learn_provider is not None and route is None and changed is None and context.first_content is None:
            self.learn_provider(request, first)
        if route is not None:
            context.add_step("routed", began, first, f"by the route {route!r}")
        if changed is not None:
            context.add_step("routed", began, changed, why)
        call = ActiveCall(request, request_id, context, label=label, target=first, targets=targets, route=route)
        self._log.begin_call(call, targets, verb)
        if failed is not None:
            context.began, context.deadline, call.failed, call.failed_blamed = failed
            context.resumed = call.failed_blamed is None
        return call, targets

    def check_open(self) -> None:
        """Raise ConfigurationError once the connection is closed."""
        if self._closed:
            raise ConfigurationError("this connection is closed", hint="make a new LLMConnection")

    def close(self) -> None:
        """Prepare no more calls."""
        self._closed = True
