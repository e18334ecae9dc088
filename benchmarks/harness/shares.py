"""Shares of each benchmark in the twenty minutes of a whole run, in seconds on two cores.

A benchmark that takes three times its share is stopped. The seconds of a new benchmark are taken from the others,
because a run that takes too long is seldom run.
"""

TOGETHER = 20 * 60.0
MICRO = "micro"
SECONDS = {
    "startup": 20.0,
    "talks": 18.0,
    "codecs": 10.0,
    "bus_ask": 26.0,
    "bus_broadcast": 52.0,
    "bus_joins": 30.0,
    "bus_publish": 23.0,
    "bus_throughput": 24.0,
    "agents_calls": 38.0,
    "agents_keep": 10.0,
    "agents_spawn": 27.0,
    "cluster_ask": 32.0,
    "cluster_broadcast": 30.0,
    "cluster_growth": 20.0,
    "cluster_large": 22.0,
    "cluster_local": 25.0,
    "cluster_lost": 27.0,
    "event_hub": 6.0,
    "gateways": 37.0,
    "grpc_calls": 30.0,
    "http2_calls": 30.0,
    "http2_streams": 41.0,
    "llm_calls": 41.0,
    "llm_detection": 10.0,
    "llm_failover": 36.0,
    "llm_streams": 23.0,
    "local_agents": 23.0,
    "local_defaults": 50.0,
    "local_engine": 9.0,
    "local_first_token": 29.0,
    "local_hugging_face": 12.0,
    "local_kept_prompts": 34.0,
    "local_large": 24.0,
    "local_layouts": 19.0,
    "local_pause": 28.0,
    "local_speculation": 37.0,
    "local_throughput": 30.0,
    "mcp_calls": 20.0,
    "memory_recall": 28.0,
    "page_cost": 32.0,
    "page_recording": 15.0,
    "page_frames": 24.0,
    "serve": 37.0,
    "three_modes": 25.0,
    "tools_loop": 8.0,
    MICRO: 28.0,
}
PATIENCE = 3.0


def share(name: str) -> float:
    """Returns the seconds of a benchmark."""
    return SECONDS[name]


def limit(name: str) -> float:
    """Returns the seconds after which a benchmark is stopped."""
    return PATIENCE * SECONDS[name]
