"""No two classes of one name in the product, unless they are the same idea."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("three_mode", "transports", "local_models")

# Name -> why several classes have it.
SAME_IDEA = {
    # One idea in each layer: a lower layer cannot import the class of the layer above.
    "DeadlineExceeded": "the error of a call whose time ran out: of the bus, of a local model, of any call",
    "InvalidRequest": "the error of a request that is wrong: of the HTTP transport, of any call",
    "Overloaded": "the error of a full queue: of the bus, of a local model, of any call",
    "PeerLost": "the error of a member that died: of the bus, of any call",
    "Reply": "a whole answer: of an HTTP server, of a local model",
    "RunStream": "a streamed run with tools: with and without an event loop",
    "Request": "what one side asks of the other: over HTTP, over the bus",
    "ReplyStream": "a streamed answer: of a request over the bus, of a model, and without an event loop",
    "Sent": "the outcome of a one-way message: over the bus, to an agent",
    "ToolCall": "a call of a tool by the model: in a message, of a local model, in a script for tests",
    "Usage": "the tokens that a call used: of a local model, of any model",
    # One idea for two kinds of callers.
    "BatchJob": "a batch at its provider: with and without an event loop",
    "Conversations": "conversations that are kept: with and without an event loop",
    "Talk": "one conversation that is kept: with and without an event loop",
    "TalkStream": "a streamed answer of a conversation: with and without an event loop",
    "AgentGroup": "agents of one name: with and without an event loop",
    "AgentReceipt": "the receipt of a broadcast: with and without an event loop",
    "AgentRef": "a reference to an agent: with and without an event loop",
    "RetryingRef": "an agent whose asks are tried again: with and without an event loop",
    "LLMConnection": "a connection to models: with and without an event loop",
    "McpTools": "tools of an MCP server: with and without an event loop",
    "Memory": "what is remembered: with and without an event loop",
    "Joined": "a program's membership of a bus: with and without an event loop",
    "Orchestrator": "the owner of agents: with and without an event loop",
    "Stream": "a streamed reply of an agent: with and without an event loop",
    # Names that documents of other systems have, each for its own shape: `three_mode.compat`.
    "LLMConfig": "settings as a document has them: of Coda, of OpenHands",
    "LLMResponse": "a whole answer: of any call, and as the documents of Coda and MRC have it",
    "Metrics": "counts of calls: of a connection, and as OpenHands has them",
    "ProviderConfig": "settings of a provider as a document has them: of Coda, of MRC",
    # Public names of two packages, which the tests of exports pin.
    "Context": "what a model has before it: the tokens of a local one, the pieces of any prompt",
    "Message": "one message: of a conversation, of the bus",
    "Seen": "what a receiver has seen: the readers of a broadcast, a provider for tests",
    "Call": "a question whose answer is awaited: over HTTP, over the bus",
}


def doubles(folders: Iterable[Path]) -> dict[str, list[str]]:
    """Name -> files, for each name that several classes at the top of a module have."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(str(path.relative_to(folder.parent)))
    return {name: files for name, files in found.items() if len(files) > 1}


def test_a_name_is_that_of_one_class() -> None:
    found = doubles(ROOT / package for package in PACKAGES)
    unexpected = {name: files for name, files in found.items() if name not in SAME_IDEA}
    assert not unexpected, f"rename all but one of each: {unexpected}"


def test_the_list_holds_only_names_that_several_classes_have() -> None:
    found = doubles(ROOT / package for package in PACKAGES)
    single = [name for name in SAME_IDEA if name not in found]
    assert not single, f"take off the list: {single}"


def test_a_second_class_of_a_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "a.py").write_text("class Same: ...\nclass Other: ...\n")
    (tmp_path / "two" / "b.py").write_text("class Same: ...\n\n\nclass Outer:\n    class Other: ...\n")
    assert doubles([tmp_path / "one", tmp_path / "two"]) == {"Same": ["one/a.py", "two/b.py"]}
