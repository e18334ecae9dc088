"""Versions of the Model Context Protocol, and the names that each era of it has.

handshake  2024-11-05 to 2025-11-25    `initialize` comes first and agrees on a version for all that follows
stateless  2026-07-28                  each request carries its version in `_meta`; `server/discover` lists those
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

STATELESS = ("2026-07-28",)
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the newest first
VERSIONS = STATELESS + HANDSHAKE

# Keys of `_meta`.
_OURS = "io.modelcontextprotocol/"
VERSION_KEY = f"{_OURS}protocolVersion"
CLIENT_KEY = f"{_OURS}clientInfo"
CAPABILITIES_KEY = f"{_OURS}clientCapabilities"
SERVER_KEY = f"{_OURS}serverInfo"
SUBSCRIPTION_KEY = f"{_OURS}subscriptionId"

# Headers of the HTTP transport, as they are compared: in lower case.
VERSION_HEADER = b"mcp-protocol-version"
METHOD_HEADER = b"mcp-method"
NAME_HEADER = b"mcp-name"
SESSION_HEADER = b"mcp-session-id"
FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # what any header may be called

# What `Mcp-Name` repeats of the parameters, for each method that has it.
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

LIST_CHANGED = "notifications/tools/list_changed"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"


@cache
def this_program() -> Mapping[str, str]:
    """Name and version, as each side tells the other. The package stands above, and is found by its name."""
    return {"name": "three-mode", "version": import_module("three_mode").__version__}


def meta_of(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `_meta` of a request; empty where there is none."""
    found = params.get("_meta")
    return found if isinstance(found, dict) else {}


def is_stateless(params: Mapping[str, Any]) -> bool:
    """Whether a request carries a version of its own, as all of the stateless era do."""
    return VERSION_KEY in meta_of(params)
