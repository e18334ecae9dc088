"""A request as one target takes it: its time and label, checked fields, emulated tools, and the budget that is reserved for it."""

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
    """For the targets of one connection."""

    def __init__(self, accounts: ProviderAccounts, book: CallLog) -> None:
        self._accounts = accounts
        self._book = book
        # What calls may cost at most, by their size; prices may change with the minute.
        self._most: dict[_Size, Decimal] = {}
        self._forgotten_at = 0.0
        self._most_tokens: dict[str, int | None] = {}

    def request(self, one: ActiveCall, target: Target) -> tuple[LLMRequest, bool]:
        """And whether its tools are emulated."""
        request = one.request
        profile = self._accounts.profile(target.provider)
        if request.max_tokens is None:
            most = self._max_tokens(target.provider)
            if most is not None:
                request = msgspec.structs.replace(request, max_tokens=most)
        emulated = bool(request.tools) and not capabilities(target.model).tools
        if emulated:
            request = with_tools_in_prompt(request)
        check(request, target.model, profile, one.policy.tokens)
        return request, emulated

    def _max_tokens(self, provider: str) -> int | None:
        if provider not in self._most_tokens:
            self._most_tokens[provider] = self._accounts.max_tokens(provider)
        return self._most_tokens[provider]

    def reserve(self, one: ActiveCall, request: LLMRequest, target: Target) -> Decimal:
        ledger = self._book.ledger
        if not ledger.has_budgets:
            return ZERO
        asked, tokens = request.max_tokens, one.policy.tokens
        if tokens > 31:
            # An estimate is no finer than a sixteenth: so there are few sizes whose price must be worked out.
            grain = 1 << tokens.bit_length() - 5
            tokens = (tokens + grain - 1) // grain * grain
        key = (target.provider, target.model, tokens, asked)
        most = self._most.get(key) if one.policy.began < self._forgotten_at else None
        if most is None:
            most = self._cost(key, target, one.policy.began)
        return ledger.reserve(target.provider, target.model, one.label, most)

    def _cost(self, key: _Size, target: Target, now: float) -> Decimal | None:
        if now >= self._forgotten_at or len(self._most) > 1000:
            self._most.clear()
            self._forgotten_at = now + PRICES_LAST
        _, _, tokens, asked = key
        most_out = asked or capabilities(target.model).max_output or UNSAID_OUTPUT
        most = self._book.cost(target, Usage(tokens, most_out), self._accounts.profile(target.provider))
        if most is not None:
            self._most[key] = most
        return most


class CallDefaults:
    """Those of one connection."""

    def __init__(
        self, accounts: ProviderAccounts, settings: Settings, timeout: float | None, label: str | None
    ) -> None:
        self._accounts, self._settings, self._timeout = accounts, settings, timeout
        self.label = label

    def label_of(self, request: LLMRequest) -> str | None:
        label = self.label
        if request.metadata:
            label = request.metadata.get("label", label)
        return None if label is None else str(label)

    def within(self, asked: float | None, provider: str) -> float:
        """Seconds of a call; inside an agent's handler no more than what remains of its call."""
        return time_for(asked or self.usual(provider), handled.get())

    def usual(self, provider: str) -> float:
        """Seconds of a call that asks for no number of its own."""
        return self._timeout or self._accounts.settings(provider).timeout or self._settings.timeout
