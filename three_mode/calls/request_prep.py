"""A request as one target takes it: its time and label, checked fields, emulated tools, and the budget that is reserved
for it."""

from decimal import Decimal

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.config import Settings
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import LLMRequest, Usage
from three_mode.policies import Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.capabilities import capabilities
from three_mode.providers.emulation import with_tools_in_prompt
from three_mode.providers.validate import check

PRICES_LAST = 10.0  # seconds
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
        self._most_tokens: dict[str, int | None] = {}

    def prepare(self, call: ActiveCall, target: Target) -> tuple[LLMRequest, bool]:
        """The request as the target takes it, and whether its tools are emulated. Raises what the target cannot do."""
        request = call.request
        profile = self._accounts.profile(target.provider)
        if request.max_tokens is None:
            most = self._max_tokens(target.provider)
            if most is not None:
                request = msgspec.structs.replace(request, max_tokens=most)
        emulated = bool(request.tools) and not capabilities(target.model).tools
        if emulated:
            request = with_tools_in_prompt(request)
        check(request, target.model, profile, call.context.tokens)
        return request, emulated

    def _max_tokens(self, provider: str) -> int | None:
        if provider not in self._most_tokens:
            self._most_tokens[provider] = self._accounts.max_tokens(provider)
        return self._most_tokens[provider]

    def reserve(self, call: ActiveCall, request: LLMRequest, target: Target) -> Decimal:
        """Set aside the most that the call may cost; what was set aside."""
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
        return ledger.reserve(target.provider, target.model, call.label, most)

    def _cost(self, key: _Size, target: Target, now: float) -> Decimal | None:
        if now >= self._forgotten_at or len(self._most) > 1000:
            self._most.clear()
            self._forgotten_at = now + PRICES_LAST
        _, _, tokens, asked = key
        most_out = asked or capabilities(target.model).max_output or UNSAID_OUTPUT
        most = self._log.cost(target, Usage(tokens, most_out), self._accounts.profile(target.provider))
        if most is not None:
            self._most[key] = most
        return most


class CallDefaults:
    """What calls of one connection get where their request does not say: their time, and the label of who pays for
    them."""

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
