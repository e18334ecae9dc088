"""Prices of calls, in US dollars. Where the price is not known the cost is None, rather than 0.

    Prices(file="prices.toml")        the user's file, first
    Prices()                          the genai-prices library, where `three-mode[prices]` is installed

The file is TOML or JSON, dollars for a million tokens:

    ["openai/gpt-5"]
    input = 1.25
    output = 10
    cache_read = 0.125
    cache_write = 1.25
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from three_mode.errors import ConfigurationError
from three_mode.messages import Usage
from three_mode.policies.clock import FOREVER

MILLION = Decimal(1_000_000)
TIERS_BEGIN = 30_000  # tokens; no provider charges more for a smaller prompt
# Our names -> names of the library, where they differ; None: the library does not know the provider.
_LIBRARY_NAMES = {
    "gemini": "google",
    "qwen": None,
    "meta": None,
    "v98": None,
    "aicoding": None,
    "ollama": None,
    "claude-cli": "anthropic",
}


class Price(Struct, frozen=True, kw_only=True):
    """Price of one model, in US dollars for a million tokens."""

    input: Decimal  #: US dollars for a million tokens of prompt
    output: Decimal  #: US dollars for a million tokens of answer
    cache_read: Decimal | None = None  #: US dollars for a million tokens out of the provider's cache; None: as `input`
    cache_write: Decimal | None = None  #: US dollars for a million tokens into the provider's cache; None: as `input`

    def of(self, usage: Usage) -> Decimal:
        """The cost of a call in US dollars."""
        if not usage.cache_read_tokens and not usage.cache_write_tokens:
            return (usage.input_tokens * self.input + usage.output_tokens * self.output) / MILLION
        plain = max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        total = plain * self.input + usage.cache_read_tokens * read + usage.cache_write_tokens * write
        return (total + usage.output_tokens * self.output) / MILLION


class PriceList(Protocol):
    """Source of the costs of calls."""

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        """The cost of a call in US dollars; None where the price is not known."""
        ...


class Prices:
    """Price list: the user's own prices first, then those of the library."""

    def __init__(self, own: Mapping[str, Price] | None = None, *, file: str | Path | None = None) -> None:
        self._own = {**(read_prices(file) if file is not None else {}), **(own or {})}
        self._rates: dict[tuple[str, str], tuple[float, Price | None]] = {}  # until when they are valid, and the price

    def prepare(self) -> None:
        """Starts to load the library in a thread; it takes a quarter of a second."""
        if _library_is_installed() and "genai_prices" not in sys.modules:
            threading.Thread(target=import_module, args=("genai_prices",), daemon=True).start()

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        """The cost of a call in US dollars; None where the price is not known."""
        known = self._rates.get((provider, model))
        now = time.time()
        if known is None or known[0] <= now:
            known = self._look_up(provider, model, now)
        until, rates = known
        if rates is None:
            return None
        if usage.input_tokens > TIERS_BEGIN and until != FOREVER:
            return _library_cost(_LIBRARY_NAMES.get(provider) or provider, model, usage)
        return rates.of(usage)

    def gave(self, provider: str, model: str) -> bool:
        """Whether the user gave a price for a model."""
        return f"{provider}/{model}" in self._own or model in self._own

    def _look_up(self, provider: str, model: str, now: float) -> tuple[float, Price | None]:
        """Finds the price of a model, and until when it is valid.

        The library is slow, so that its rates are read once a minute: some change with the hour. The library itself
        computes the cost of prompts so large that tiers may apply.
        """
        own = self._own.get(f"{provider}/{model}") or self._own.get(model)
        minute = int(now // 60)
        found = (FOREVER, own) if own is not None else (60.0 * (minute + 1), _library_rates(provider, model, minute))
        if len(self._rates) > 1000:
            self._rates.clear()
        self._rates[provider, model] = found
        return found


def read_prices(file: str | Path) -> dict[str, Price]:
    """Reads a file of prices: model -> price."""
    import tomllib

    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
        table = (
            json.loads(text, parse_float=Decimal)
            if path.suffix == ".json"
            else tomllib.loads(text, parse_float=Decimal)
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the prices in {path.name} cannot be read: {error}") from None
    return {model: _price(model, row) for model, row in table.items()}


def _price(model: str, row: Any) -> Price:
    known = {"input", "output", "cache_read", "cache_write"}
    try:
        if not isinstance(row, Mapping) or not {"input", "output"} <= row.keys() <= known:
            raise ValueError(f"it has {', '.join(sorted(known))}")
        amounts = {name: Decimal(str(value)) for name, value in row.items()}
        if any(not amount.is_finite() or amount < 0 for amount in amounts.values()):
            raise ValueError("a price is a number that is not negative")
        return Price(**amounts)
    except (ValueError, InvalidOperation) as error:
        raise ConfigurationError(f"the price of {model!r} is not right: {error}") from None


@lru_cache(maxsize=1)
def _library_is_installed() -> bool:
    return find_spec("genai_prices") is not None


@lru_cache(maxsize=512)
def _library_rates(provider: str, model: str, minute: int) -> Price | None:
    """Price of the library; None where the library is not installed, or does not know the model."""
    name = _LIBRARY_NAMES.get(provider, provider)
    if name is None or not _library_is_installed():
        return None
    plain, read, write, output = (
        _library_cost(name, model, usage)
        for usage in (Usage(1000), Usage(1000, 0, 1000), Usage(1000, 0, 0, 1000), Usage(0, 1000))
    )
    if plain is None or output is None:
        return None
    return Price(
        input=plain * 1000,
        output=output * 1000,
        cache_read=None if read is None else read * 1000,
        cache_write=None if write is None else write * 1000,
    )


def _library_cost(provider: str, model: str, usage: Usage) -> Decimal | None:
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    counted = TheirUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    try:
        return calc_price(counted, model, provider_id=provider).total_price
    except (LookupError, ValueError):
        return None
