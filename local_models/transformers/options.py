"""What the options of a load mean for a Hugging Face model. Pure; what it cannot do is an error that names it."""

import re

import msgspec

from local_models.errors import BadOption
from local_models.gguf import Summary
from local_models.options import LoadOptions

LONGEST_DEFAULT_CONTEXT = 4096
DEFAULT_SEQUENCES = 4
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_ONLY_GGUF = ("pool", "layout", "kv_type", "gpu_layers", "gpu_split", "gpu_shares", "lora")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a loaded model."""

    context: int  # tokens of one call, prompt and answer together
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
    most = summary.context or LONGEST_DEFAULT_CONTEXT
    if options.context > most:
        raise BadOption(f"this model was trained for {most} tokens, not {options.context}", field="context")
    context = options.context or min(most, LONGEST_DEFAULT_CONTEXT)
    return Shape(context=context, sequences=options.sequences or DEFAULT_SEQUENCES)
