"""Names of MRC's `llm_communication`, for code without an event loop.

    llm = LLMCommunication()                        # the first of anthropic, openai and claude-cli that is there
    print(llm.generate_text("Hello!"))

One connection of `three_mode.sync` does the work: pooling, retries, circuit breakers and fallback are its policies.
"""

from three_mode.compat.mrc.communication import LLMCommunication
from three_mode.compat.mrc.configuration import Configuration, ProviderConfig
from three_mode.compat.mrc.errors import (
    AuthenticationException,
    LLMException,
    NetworkException,
    ProviderUnavailableException,
    RateLimitException,
)
from three_mode.compat.mrc.manager import ProviderManager
from three_mode.compat.mrc.performance import PerformanceMonitor
from three_mode.compat.mrc.providers import AnthropicProvider, BaseProvider, ClaudeCLIProvider, OpenAIProvider
from three_mode.compat.mrc.services import ServiceFactory, SimpleLLMManager, SimpleLLMService
from three_mode.compat.mrc.tracking import RequestTracker, Timing, Tracker, log_llm_error, log_llm_info
from three_mode.compat.mrc.values import LLMResponse, UsageInfo

__all__ = [
    "AnthropicProvider",
    "AuthenticationException",
    "BaseProvider",
    "ClaudeCLIProvider",
    "Configuration",
    "LLMCommunication",
    "LLMException",
    "LLMResponse",
    "NetworkException",
    "OpenAIProvider",
    "PerformanceMonitor",
    "ProviderConfig",
    "ProviderManager",
    "ProviderUnavailableException",
    "RateLimitException",
    "RequestTracker",
    "ServiceFactory",
    "SimpleLLMManager",
    "SimpleLLMService",
    "Timing",
    "Tracker",
    "UsageInfo",
    "log_llm_error",
    "log_llm_info",
]
