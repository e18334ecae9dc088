"""The parts of a connection by themselves, with settings and prices that a test gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from three_mode.calls.call_log import ActiveCall, CallLog, new_request_id
from three_mode.calls.provider_accounts import Account, ProviderAccounts
from three_mode.config import Settings, Sources
from three_mode.messages import LLMRequest
from three_mode.observe import Metrics
from three_mode.policies import Budget, CallContext, Price, Prices, SpendingLedger, Target

SETTINGS = {"default_provider": "openai"}


def settings_of(table: Mapping[str, Any] = SETTINGS) -> Settings:
    """Settings of a config table alone: nothing of the environment."""
    return Sources(table, environment={}, dotenv=Path("there is none")).settings()


def accounts_of(settings: Settings, **given: Account) -> ProviderAccounts:
    """Accounts whose endpoints nobody asks for."""

    def no_pool() -> Any:
        raise AssertionError("nothing is sent here")

    return ProviderAccounts(settings, given, {}, no_pool, lambda provider: None)


def log_of(*budgets: Budget, **prices: Price) -> CallLog:
    """A call log that writes to nobody."""
    return CallLog(Prices(prices), SpendingLedger(budgets), Metrics(), None, None, log_content=False)


def call_of(request: LLMRequest, target: Target, tokens: int = 10, began: float = 0.0) -> ActiveCall:
    """A call that was just prepared."""
    context = CallContext(deadline=began + 60, began=began, tokens=tokens)
    return ActiveCall(request, new_request_id(), context, label="me", target=target)


def asking(text: str = "hi", **fields: Any) -> LLMRequest:
    """A request of one message."""
    return LLMRequest(messages=[{"role": "user", "content": text}], **fields)
