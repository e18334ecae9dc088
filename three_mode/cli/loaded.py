"""What is said of a local model once it is loaded: what it got, and why."""

from local_models import Statistics
from three_mode.connection import ConnectionFigures


def loaded_words(figures: ConnectionFigures) -> list[str]:
    """A line for each loaded model."""
    return [f"{each.name}: {_words(each.statistics)}" for each in figures.models]


def _words(found: Statistics) -> str:
    threads = "a thread" if found.threads == 1 else f"{found.threads} threads"
    cache = f"{found.sequences} sequences in a KV cache of {found.kv_type}"
    return f"a context of {found.context} tokens, {found.context_chosen}; {cache}; {threads} on {found.device}"
