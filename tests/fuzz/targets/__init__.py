"""All targets, by name."""

from collections.abc import Mapping
from importlib import import_module

from tests.fuzz.target import Target
from tests.fuzz.targets import bus, endpoint, gateway, http, models, rings, rpc, streams

_PARTS = (rings, bus, gateway, streams, http, models, endpoint, rpc)
TARGETS: Mapping[str, Target] = {target.name: target for part in _PARTS for target in part.TARGETS}


def target_of(name: str) -> Target:
    """A target by its name; one that is none of ours as `MODULE:ATTRIBUTE`."""
    module, colon, attribute = name.partition(":")
    if not colon:
        return TARGETS[name]
    found = getattr(import_module(module), attribute)
    assert isinstance(found, Target)
    return found
