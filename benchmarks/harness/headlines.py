"""Headlines: the targets of benchmarks that the first page quotes, in words."""

from benchmarks import agents_calls, bus_broadcast, http2_calls, llm_calls, serve, three_modes
from benchmarks.harness.model import FLOOR, Headline

HEADLINES = (
    Headline(
        "a message to 512 agents in two processes",
        "AutoGen core, in one process",
        "agents_calls",
        agents_calls.CAST,
        agents_calls.PLAIN,
        agents_calls.ONE_PROCESS,
    ),
    Headline(
        "the bus beneath it, in close succession", "pyzmq", "bus_broadcast", bus_broadcast.AGENTS, "three-mode", "pyzmq"
    ),
    Headline(
        "the same, 3 ms apart: each broadcast wakes processes that sleep",
        "pyzmq",
        "bus_broadcast",
        bus_broadcast.ALONE_3.format(bus_broadcast.AGENTS),
        "three-mode",
        "pyzmq",
    ),
    Headline(
        "the same again",
        "the kernel's own waking of two processes",
        "bus_broadcast",
        bus_broadcast.ALONE_3.format(bus_broadcast.AGENTS),
        "three-mode",
        FLOOR,
    ),
    Headline(
        "a question to an agent in another process",
        "a Ray actor",
        "agents_calls",
        agents_calls.ASK,
        agents_calls.US,
        "Ray",
    ),
    Headline(
        "what an `LLMRequest` to an agent in another process adds",
        "the bus's own ask",
        "three_modes",
        three_modes.BEYOND,
        three_modes.US,
        three_modes.BUS,
    ),
    Headline(
        "a call to a model, on this side", "the openai SDK", "llm_calls", llm_calls.CALL, "three-mode", "openai SDK"
    ),
    Headline("a call over HTTP/2 with TLS", "httpx", "http2_calls", http2_calls.TLS, "transport", "httpx"),
    Headline(
        "requests a second of `three-mode serve`", "litellm's proxy", "serve", serve.RATE, serve.AGENT, serve.LITELLM
    ),
    Headline(
        "64 agents on a local model of 30M", "llama-server", "local_throughput", "30M", "three-mode", "llama-server"
    ),
)
