"""Exceptions of MRC's document: those of `three_mode`, by its names.

`except LLMException` catches whatever a call raises. A provider without a key raises an `AuthenticationException`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from three_mode.compat.missing_keys import naming_missing_keys
from three_mode.connection import LLMConnection
from three_mode.errors import (
    AllProvidersFailed,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    RateLimit,
    ThreeModeError,
)

LLMException = ThreeModeError
RateLimitException = RateLimit
AuthenticationException = AuthenticationError
NetworkException = ConnectionFailed


class ProviderUnavailableException(AllProvidersFailed):
    """No provider is available: none has a key or program, or none answered."""


@contextmanager
def named_errors(llm: LLMConnection, provider: str) -> Iterator[None]:
    """Raises what a call raises by the names of this document. `provider` is "" where one is looked for."""
    try:
        with naming_missing_keys(llm, provider or None):
            yield
    except AllProvidersFailed as error:
        if isinstance(error, ProviderUnavailableException):
            raise
        raise ProviderUnavailableException(
            error.message, hint=error.hint, retryable=error.retryable, causes=error.causes
        ) from error
    except ConfigurationError as error:
        if provider or llm._services.provider.name is not None:
            raise
        raise ProviderUnavailableException(f"No providers available: {error.message}", hint=error.hint) from None
