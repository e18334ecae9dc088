"""All options in one place: `from three_mode.options import Policies, FallbackOptions, Target`.

The module holds names only. Each is imported from the package that it belongs to when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_models import Generate as Generate
    from local_models import LoadOptions as LoadOptions
    from local_models import Lora as Lora
    from three_mode.agents import HostOptions as HostOptions
    from three_mode.agents import KeepOptions as KeepOptions
    from three_mode.agents import OrchestratorOptions as OrchestratorOptions
    from three_mode.agents import Restart as Restart
    from three_mode.connection import Account as Account
    from three_mode.connection import ConnectionOptions as ConnectionOptions
    from three_mode.connection import GRPCOptions as GRPCOptions
    from three_mode.connection import Observing as Observing
    from three_mode.conversations import Compaction as Compaction
    from three_mode.conversations import ConversationOptions as ConversationOptions
    from three_mode.conversations import Window as Window
    from three_mode.memory import MemoryOptions as MemoryOptions
    from three_mode.messages import RequestDefaults as RequestDefaults
    from three_mode.policies import BreakerOptions as BreakerOptions
    from three_mode.policies import Budget as Budget
    from three_mode.policies import CacheOptions as CacheOptions
    from three_mode.policies import CoalesceOptions as CoalesceOptions
    from three_mode.policies import FallbackOptions as FallbackOptions
    from three_mode.policies import HedgeOptions as HedgeOptions
    from three_mode.policies import LimiterOptions as LimiterOptions
    from three_mode.policies import Policies as Policies
    from three_mode.policies import Price as Price
    from three_mode.policies import Prices as Prices
    from three_mode.policies import RetryOptions as RetryOptions
    from three_mode.policies import Route as Route
    from three_mode.policies import Target as Target
    from three_mode.prompts import ContextBudgets as ContextBudgets
    from three_mode.providers import BatchTerms as BatchTerms
    from three_mode.providers import Profile as Profile
    from three_mode.providers import register as register
    from transports.bus import BusOptions as BusOptions
    from transports.bus import SubscribeOptions as SubscribeOptions

# Name -> package that it belongs to.
_PACKAGES = {
    "Account": "three_mode.connection",
    "BatchTerms": "three_mode.providers",
    "BreakerOptions": "three_mode.policies",
    "Budget": "three_mode.policies",
    "BusOptions": "transports.bus",
    "CacheOptions": "three_mode.policies",
    "CoalesceOptions": "three_mode.policies",
    "Compaction": "three_mode.conversations",
    "ConnectionOptions": "three_mode.connection",
    "ConversationOptions": "three_mode.conversations",
    "ContextBudgets": "three_mode.prompts",
    "FallbackOptions": "three_mode.policies",
    "GRPCOptions": "three_mode.connection",
    "Generate": "local_models",
    "HedgeOptions": "three_mode.policies",
    "HostOptions": "three_mode.agents",
    "KeepOptions": "three_mode.agents",
    "LimiterOptions": "three_mode.policies",
    "LoadOptions": "local_models",
    "Lora": "local_models",
    "MemoryOptions": "three_mode.memory",
    "Observing": "three_mode.connection",
    "OrchestratorOptions": "three_mode.agents",
    "Policies": "three_mode.policies",
    "Price": "three_mode.policies",
    "Prices": "three_mode.policies",
    "Profile": "three_mode.providers",
    "RequestDefaults": "three_mode.messages",
    "Restart": "three_mode.agents",
    "RetryOptions": "three_mode.policies",
    "Route": "three_mode.policies",
    "SubscribeOptions": "transports.bus",
    "Target": "three_mode.policies",
    "Window": "three_mode.conversations",
    "register": "three_mode.providers",
}

__all__ = list(_PACKAGES)


def __getattr__(name: str) -> object:
    package = _PACKAGES.get(name)
    if package is None:
        raise AttributeError(f"module 'three_mode.options' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(package), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
