"""The public names, pinned: adding one is a decision, and losing one breaks somebody."""

import importlib
import json
import subprocess
import sys

import pytest

PUBLIC = {
    "three_mode": {
        "Agent",
        "Chunk",
        "CommunicationMode",
        "LLMConnection",
        "LLMRequest",
        "LLMResponse",
        "Message",
        "Orchestrator",
        "ThreeModeError",
        "Tool",
        "Usage",
        "errors",
        "fold",
        "handler",
        "on",
    },
    "three_mode.agents": {
        "Agent",
        "AgentGivenUp",
        "AgentGroup",
        "AgentReceipt",
        "AgentRef",
        "AgentReport",
        "AgentRestarted",
        "AgentsQuarantined",
        "DeadLetter",
        "Divergence",
        "Gathered",
        "HandlerRaised",
        "HostBack",
        "HostBlocked",
        "HostFreed",
        "HostGivenUp",
        "HostLost",
        "HostOptions",
        "HostReport",
        "Joined",
        "Orchestrator",
        "OrchestratorOptions",
        "Replayed",
        "Restart",
        "RoleRef",
        "Seen",
        "Sent",
        "SentToAll",
        "Stream",
        "SupervisorEvent",
        "Table",
        "Tracer",
        "handler",
        "join",
        "on",
        "replay",
    },
    "three_mode.conversations": {
        "Compaction",
        "ConversationInfo",
        "ConversationOptions",
        "Conversations",
        "FoundMessage",
        "Sayable",
        "Talk",
        "TalkMemory",
        "TalkPersona",
        "TalkStream",
        "TalkTurn",
        "ToolRun",
        "ToolRunner",
        "Window",
    },
    "three_mode.sync": {
        "AgentGroup",
        "AgentReceipt",
        "AgentRef",
        "BatchJob",
        "Conversations",
        "Events",
        "LLMConnection",
        "Memory",
        "Orchestrator",
        "ReplyStream",
        "RunStream",
        "Stream",
        "Talk",
        "TalkStream",
        "run",
    },
    "three_mode.messages": {
        "CacheHints",
        "Chunk",
        "EmbedRequest",
        "Embedded",
        "Finish",
        "FinishReason",
        "Folding",
        "Image",
        "LLMRequest",
        "LLMResponse",
        "Message",
        "Part",
        "Reasoning",
        "RequestDefaults",
        "ResponseFormat",
        "Role",
        "Start",
        "Step",
        "Text",
        "TextDelta",
        "Thinking",
        "ThinkingDelta",
        "Tool",
        "ToolCall",
        "ToolDelta",
        "ToolResult",
        "Usage",
        "UsageUpdate",
        "chunks_of",
        "decode_error",
        "encode_error",
        "fold",
        "from_json",
        "from_msgpack",
        "to_json",
        "to_msgpack",
    },
    "three_mode.memory": {
        "Embedder",
        "Memory",
        "MemoryBlock",
        "MemoryOptions",
        "Recollection",
    },
    "three_mode.prompts": {
        "Context",
        "ContextBudgets",
        "ContextPiece",
        "Enhanced",
        "EnhancedMessages",
        "LeftOut",
        "Persona",
        "Recalled",
        "enhance",
        "enhance_messages",
        "enhance_user",
    },
    "three_mode.events": {
        "KINDS",
        "AnalyticsUpdate",
        "AskedAs",
        "BudgetUse",
        "CallRetry",
        "ConnectionHub",
        "ConversationCompacted",
        "ConversationCreated",
        "EventGap",
        "EventReader",
        "FunctionCalls",
        "LLMEvent",
        "ProviderStatusChange",
        "ProviderSwitch",
        "ResponseChunk",
        "ResponseComplete",
        "ResponseStart",
        "ToolReturned",
        "event_from",
    },
    "three_mode.errors": {
        "AgentError",
        "AllProvidersFailed",
        "AuthenticationError",
        "BadCall",
        "BadReply",
        "BadResult",
        "BatchCancelled",
        "BatchInterrupted",
        "BudgetExceeded",
        "CallCycle",
        "CircuitOpen",
        "ConfigurationError",
        "ConnectionFailed",
        "ContentFilter",
        "ContextLength",
        "ConversationBusy",
        "ConversationError",
        "ConversationFileError",
        "DeadlineExceeded",
        "HandlerFailed",
        "InvalidRequest",
        "LLMError",
        "MissingExtra",
        "ModeConflict",
        "ModeUnavailable",
        "NoSuchAgent",
        "NoSuchConversation",
        "NotFound",
        "Overloaded",
        "PeerLost",
        "PermissionDenied",
        "ProviderOverloaded",
        "QuotaExhausted",
        "RateLimit",
        "ReplyTooLarge",
        "ServerError",
        "StreamInterrupted",
        "ThreeModeError",
        "TurnCutShort",
        "UnsupportedParameter",
    },
    "three_mode.tools": {
        "AnyTools",
        "Approve",
        "CallStatus",
        "CallableTool",
        "FunctionTool",
        "HandlerTool",
        "RoundStarted",
        "RunEnd",
        "RunEvent",
        "RunFinished",
        "RunReply",
        "RunStream",
        "ToolFinished",
        "ToolOutcome",
        "ToolStarted",
        "Tools",
        "UnfitArguments",
    },
    "transports.bus": {
        "Asked",
        "BadAddress",
        "BadFrame",
        "BlockingBus",
        "Bus",
        "BusError",
        "BusOptions",
        "BusStatus",
        "Call",
        "CallCancelled",
        "Closed",
        "Curve",
        "DeadlineExceeded",
        "DirectoryChange",
        "Encoded",
        "Evicted",
        "Forked",
        "Gap",
        "InBand",
        "JoinFailed",
        "Kind",
        "Listener",
        "MemberInfo",
        "MemberJoined",
        "MemberLost",
        "Message",
        "NameTaken",
        "NamesChanged",
        "NoSuchBus",
        "NoSuchName",
        "NotEncodable",
        "Overloaded",
        "PeerLost",
        "Policy",
        "ReaderStatus",
        "Receipt",
        "RemoteError",
        "ReplyStream",
        "Request",
        "Sent",
        "Settled",
        "StreamReader",
        "SubscribeOptions",
        "Subscription",
        "TooLarge",
        "VersionMismatch",
        "Watch",
        "WriterGone",
        "check_pattern",
        "is_plain",
        "matches",
        "rings_available",
        "running_buses",
    },
}

# What an import must not do, as the interpreter's own audit events say.
PROBE = """
import json, sys
seen = []
def watch(event, args):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "urllib", "shutil")) or (
        event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    ):
        seen.append(event)
sys.addaudithook(watch)
import three_mode
heavy = [name for name in ("httpx", "zmq", "llama_cpp", "rich", "numpy", "h2", "uvloop", "ssl") if name in sys.modules]
print(json.dumps({"seen": seen, "heavy": heavy}))
"""


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_these_and_all_are_there(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) == PUBLIC[module]
    for name in found.__all__:
        assert getattr(found, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    import three_mode

    with pytest.raises(AttributeError, match="LLMConection"):
        three_mode.LLMConection  # noqa: B018
    assert "LLMRequest" in dir(three_mode)


def test_import_opens_no_socket_writes_no_file_and_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-B", "-c", PROBE], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"seen": [], "heavy": []}


def test_all_options_come_from_one_place() -> None:
    options = importlib.import_module("three_mode.options")
    assert len(options.__all__) > 20
    for name in options.__all__:
        belongs_to = importlib.import_module(options._PACKAGES[name])
        assert getattr(options, name) is getattr(belongs_to, name)
        assert name in belongs_to.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = options.Nothing
