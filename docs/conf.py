"""Settings of the documentation site: `make docs` builds it into build/docs, without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extension")]

from public_names import FOREIGN_BASES  # noqa: E402

project = "three-mode"
author = "The three-mode authors"
extensions = ["notebooks", "public_names"]
exclude_patterns = ["extension"]
html_theme = "furo"
html_title = "three-mode"
html_show_copyright = False
nitpicky = True

myst_heading_anchors = 3  # a link may name any heading down to this depth
myst_links_external_new_tab = False

autodoc_default_options = {
    "undoc-members": True,
    "inherited-members": FOREIGN_BASES,
    "member-order": "groupwise",
}
autodoc_typehints_format = "short"

public_packages = [
    "three_mode",
    "three_mode.a2a",
    "three_mode.agents",
    "three_mode.cluster",
    "three_mode.compat.coda",
    "three_mode.compat.dive",
    "three_mode.compat.mrc",
    "three_mode.compat.openhands",
    "three_mode.connection",
    "three_mode.conversations",
    "three_mode.errors",
    "three_mode.events",
    "three_mode.memory",
    "three_mode.messages",
    "three_mode.observe",
    "three_mode.policies",
    "three_mode.prompts",
    "three_mode.providers",
    "three_mode.sync",
    "three_mode.testing",
    "three_mode.tools",
    "local_models",
    "local_models.files",
    "transports.bus",
    "transports.grpc",
    "transports.http2",
    "transports.nats",
    "transports.process",
]
option_classes = [
    "*Options",
    "three_mode.agents.Restart",
    "three_mode.connection.Account",
    "three_mode.connection.Observing",
    "three_mode.conversations.Compaction",
    "three_mode.conversations.ConversationInfo",
    "three_mode.conversations.FoundMessage",
    "three_mode.conversations.TalkTurn",
    "three_mode.conversations.Window",
    "three_mode.events.*",
    "three_mode.memory.MemoryBlock",
    "three_mode.memory.Recollection",
    "three_mode.messages.*",
    "three_mode.observe.*",
    "three_mode.policies.Budget",
    "three_mode.policies.Policies",
    "three_mode.policies.Price",
    "three_mode.policies.Route",
    "three_mode.policies.Target",
    "three_mode.prompts.Context*",
    "three_mode.prompts.Enhanced",
    "three_mode.prompts.LeftOut",
    "three_mode.prompts.Persona",
    "three_mode.providers.Profile",
    "three_mode.testing.*",
    "three_mode.tools.*",
    "local_models.Generate",
    "local_models.Lora",
    "transports.bus.Curve",
    "transports.http2.Limits",
    "transports.http2.Request",
    "transports.http2.Timeouts",
]
