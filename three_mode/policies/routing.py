"""Routes: names that requests give as their model, the targets of each, and the order in which to try them.

    Route("smart", targets=(Target("anthropic", "claude-sonnet-4-5"), Target("openai", "gpt-5")), by="cost")

The first target answers; the others are its fallback, in the order of the rule.

    Route("trial", targets=(Target("openai", "gpt-5", 9), Target("anthropic", "claude-sonnet-4-5", 1)), by="split")

A split gives a tenth of the users to the second one, and each user always to the same (A/B). Who gets what follows from
a hash of the route's name and the user alone: in every process, and after a restart.

    Route("chat", targets=(Target("acme", "large", 9), Target("acme", "large", 1, grpc=True)), by="split")

The same brings gRPC to a tenth of the users first. A larger weight adds users, and takes it from none.
"""

import math
import random
from collections.abc import Callable, Container, Sequence
from hashlib import blake2b
from typing import Any, Literal

from msgspec import Struct

from three_mode.errors import ConfigurationError, UnsupportedParameter
from three_mode.messages import LLMRequest, Usage
from three_mode.policies.prices import PriceList
from three_mode.providers.needs import missing


class Target(Struct, frozen=True):
    """Model at a provider."""

    provider: str  #: a provider, or "local" or "agent"
    model: str  #: a model of it, or the name of the agent
    weight: float = 1.0  #: share of the calls, where a route goes by weight
    grpc: bool = False  #: whether the provider is called over gRPC; where its gRPC is not there, HTTP answers

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} over gRPC" if self.grpc else f"{self.provider}/{self.model}"


Chooser = Callable[[LLMRequest, Sequence[Target]], Sequence[Target]]


class Route(Struct, frozen=True):
    """Name for several models."""

    name: str  #: name that requests give as their model
    targets: tuple[Target, ...]  #: models that may answer
    #: order of the targets; a function gets the request and the targets, and returns some of them in order
    by: Literal["order", "cost", "latency", "weight", "split"] | Chooser = "order"
    #: entry of a request's metadata that decides by "split", such as "user" or "conversation"; a request without it is
    #: drawn as by "weight"
    key: str = "user"

    def __post_init__(self) -> None:
        if not self.targets:
            raise ConfigurationError(f"the route {self.name!r} has no targets")
        if not callable(self.by) and self.by not in ("order", "cost", "latency", "weight", "split"):
            raise ConfigurationError(
                f"a route goes by order, cost, latency, weight, split or a function, not {self.by!r}"
            )
        key: Any = self.key
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"the key of a route names an entry of metadata, not {key!r}")
        if self.by == "split" and not any(target.weight > 0 for target in self.targets):
            raise ConfigurationError(f"no target of the route {self.name!r} has a weight above 0")


class Router:
    """Orders the targets of a route, without those that lack what a request needs."""

    def __init__(
        self,
        routes: Sequence[Route],
        prices: PriceList,
        latency: Callable[[str, str], float | None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._routes = {route.name: route for route in routes}
        self.names: Container[str] = self._routes.keys()
        self._prices = prices
        self._latency = latency
        self._chance = chance

    def order(self, name: str, request: LLMRequest) -> list[Target]:
        """The targets of a route in the order to try them, for one request."""
        route = self._routes[name]
        able = [target for target in route.targets if not missing(request, target.model)]
        if not able:
            lacks = ", ".join(f"{target}: {', '.join(missing(request, target.model))}" for target in route.targets)
            raise UnsupportedParameter(f"no model of the route {name!r} can do what is asked ({lacks})", field="model")
        if callable(route.by):
            chosen = list(route.by(request, able))
            if not chosen or any(target not in route.targets for target in chosen):
                raise ConfigurationError(f"the rule of the route {name!r} must return some of its targets")
            return chosen
        if route.by == "cost":
            return sorted(able, key=self._cost)
        if route.by == "latency":
            return sorted(able, key=self._latency_of)
        if route.by == "split" and (value := request.metadata.get(route.key)) not in (None, ""):
            return sorted(able, key=lambda target: _distance(route.name, value, target))
        if route.by in ("weight", "split"):
            return self._drawn(able)
        return able

    def _cost(self, target: Target) -> tuple[bool, float]:
        """Cost of a typical call, with twice as many input as output tokens; unknown prices sort last."""
        cost = self._prices.cost(target.provider, target.model, Usage(2000, 1000))
        return (cost is None, float(cost or 0))

    def _latency_of(self, target: Target) -> float:
        """Latency of a target; a model that was never tried sorts first, so that it gets one."""
        latency = self._latency(target.provider, target.model)
        return -1.0 if latency is None else latency

    def _drawn(self, targets: list[Target]) -> list[Target]:
        """Draws the targets one after the other, with probabilities by weight among the rest."""
        left, order = list(targets), []
        while left:
            point = self._chance() * sum(max(0.0, target.weight) for target in left)
            for target in left:
                point -= max(0.0, target.weight)
                if point < 0:
                    break
            order.append(target)
            left.remove(target)
        return order


def _distance(route: str, value: object, target: Target) -> float:
    """Distance of a target from the user: the nearest one answers, each as often as its weight says.

    The distance does not depend on the other targets. So a target that is added, or one whose weight grows, takes users
    from the others and moves none between them (weighted rendezvous hashing).
    """
    if target.weight <= 0:
        return math.inf
    text = "\0".join((route, str(value), target.provider, target.model, *(("grpc",) if target.grpc else ())))
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    share = (int.from_bytes(digest, "big") + 0.5) / 2**64  # between 0 and 1, never either
    return -math.log(share) / target.weight
