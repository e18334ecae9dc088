"""What a connection knows about keys, and the error of a missing one for code that catches errors of calls to models.

`three_mode` counts a missing key as a wrong setting (`ConfigurationError`). Programs of the documents catch it with
the errors of calls: `MissingKey` is both.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from three_mode.connection import LLMConnection
from three_mode.errors import AuthenticationError, ConfigurationError


class MissingKey(ConfigurationError, AuthenticationError):
    """There is no key for the provider; `hint` names the variable that may hold it."""


def is_available(llm: LLMConnection, provider: str) -> bool:
    """Whether a provider can be tried at all: it has its key, or its program, or wants neither."""
    return llm._services.accounts.available(provider)


@contextmanager
def naming_missing_keys(llm: LLMConnection, provider: str | None) -> Iterator[None]:
    """Raises `MissingKey` in place of a `ConfigurationError` where the provider of the call has no key."""
    try:
        yield
    except ConfigurationError as error:
        if isinstance(error, MissingKey) or provider is None or is_available(llm, provider):
            raise
        raise MissingKey(error.message, hint=error.hint, provider=provider) from None
