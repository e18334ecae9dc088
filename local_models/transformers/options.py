"""What the options of a load mean for a Hugging Face model; what it cannot do is an error that names it."""

import re

import msgspec

from local_models.errors import BadOption
from local_models.gguf import Summary
from local_models.machine import available_bytes
from local_models.options import LoadOptions

UNKNOWN_CONTEXT = 4096  # tokens, where a folder does not say what its model was trained for
LEAST_CONTEXT = 512  # tokens: with less a model is of no use
CACHE_SHARE = 0.25  # part of the free memory for the KV caches, by default
DEFAULT_SEQUENCES = 4
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_ONLY_GGUF = (
    "pool",
    "layout",
    "kv_type",
    "gpu_layers",
    "gpu_split",
    "gpu_shares",
    "speculate",
    "draft",
    "lora",
    "projector",
    "cache_mb",
    "cache_dir",
    "cache_disk_mb",
)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a loaded model."""

    context: int  # tokens of one call, prompt and answer together
    context_chosen: str  # why so many, in words
    sequences: int  # calls that are written at once, a token each in turn

    def kv_bytes(self, summary: Summary) -> int:
        """Bytes of the KV caches when all calls fill their context."""
        return summary.kv_bytes(self.context) * self.sequences


def check_options(options: LoadOptions) -> None:
    """Raises `BadOption` for an option that a Hugging Face model does not have."""
    defaults = LoadOptions()
    for name in _ONLY_GGUF:
        if getattr(options, name) != getattr(defaults, name):
            hint = "`device` says where it runs" if name == "gpu_layers" else ""
            raise BadOption(f"`{name}` is for GGUF models; a model of hf: has no such option", field=name, hint=hint)
    if not _DEVICE.fullmatch(options.device):
        raise BadOption(f"no device {options.device!r}", field="device", hint="auto, cpu, cuda, cuda:0 or mps")


def shape_of(summary: Summary, options: LoadOptions) -> Shape:
    """Chooses the sizes; raises `BadOption` for a context that the model was not made for."""
    trained = summary.context or UNKNOWN_CONTEXT
    if options.context > trained:
        raise BadOption(f"this model was trained for {trained} tokens, not {options.context}", field="context")
    sequences = options.sequences or DEFAULT_SEQUENCES
    if options.context:
        return Shape(context=options.context, context_chosen="configured", sequences=sequences)
    free = min(available_bytes(), options.memory_bytes or 1 << 62)
    fits = int(free * CACHE_SHARE) // sequences // max(summary.kv_bytes(1), 1)
    if fits >= trained:
        return Shape(context=trained, context_chosen="what the model was trained for", sequences=sequences)
    chosen = f"what the memory has room for; the model was trained for {trained}"
    return Shape(context=min(trained, max(fits, LEAST_CONTEXT)), context_chosen=chosen, sequences=sequences)
