"""Errors of Coda's document: those of `three_mode`, by its names.

`except LLMError` catches whatever a call raises, time-outs included; a provider without a key raises an
`LLMAuthenticationError`, which is one too. `retry_after` is in seconds, where the provider named a wait.
"""

from three_mode.errors import AuthenticationError, DeadlineExceeded, RateLimit, ThreeModeError

LLMError = ThreeModeError
LLMTimeoutError = DeadlineExceeded
LLMRateLimitError = RateLimit
LLMAuthenticationError = AuthenticationError
