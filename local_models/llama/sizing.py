"""Sizing: sequences, context, layout and threads of a model on this machine. Pure except for `machine`."""

import msgspec

from local_models.errors import BadOption, OutOfMemory
from local_models.gguf import Summary
from local_models.gguf.summary import KV_BLOCK
from local_models.llama.library import Device, devices
from local_models.llama.shape import ContextShape
from local_models.machine import available_bytes, cores
from local_models.options import LoadOptions

UNKNOWN_CONTEXT = 4096  # tokens, where a file does not say what its model was trained for
LONG_CONTEXT = 4096  # tokens that a model has by default beyond its budget of the KV cache, where there is memory
LEAST_CONTEXT = 512  # tokens: with less a model is of no use
FIRST_CONTEXT = 1024  # tokens of a sequence at load, by default: it grows once a call needs more
MOST_SEQUENCES = 256
CACHE_SHARE = 0.25  # part of the free memory for the KV cache, by default
CACHE_CEILING = 2 << 30  # bytes of the KV cache, or those of the weights if more
FIRST_CACHE = 128 << 20  # bytes of the KV cache at load: to clear a GiB takes half a second
FIRST_SEQUENCES = 8
NO_FLASH_ATTENTION = ("grok",)
WIDTHS = (1, 4, 8, 16, 32, 64)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Resources of this machine."""

    cores: int
    free_bytes: int  #: memory that is available
    gpu: Device | None = None  #: the GPU with most free memory


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions about how a model is loaded."""

    context: int  #: most tokens of one call
    context_chosen: str  #: why so many, in words
    sequences: int
    shape: ContextShape  #: shape of the context with all its sequences, of `first_context` tokens each
    first_sequences: int  #: sequences at load where the cache may grow: split, and not configured
    first_context: int  #: tokens of a sequence at load; less than `context` where sequences may grow
    most_tokens: int  #: tokens of all sequences together that the memory is meant for
    threads: int  #: threads that compute while the event loop of the program needs a core
    most_threads: int  #: threads that compute while it does not
    gpu_layers: int  #: layers on the GPU; -1: all
    device: str  #: description of the device that computes
    measure: bool  #: True: the number of sequences is still to be measured, and `sequences` is its maximum
    kv_bytes: int  #: bytes of the KV cache with all its sequences

    @property
    def grows(self) -> bool:
        """Whether the cache has `first_sequences` of `first_context` tokens at load, and more once they are needed."""
        return not self.shape.unified and (self.measure or self.first_context < self.context)

    @property
    def first_kv_bytes(self) -> int:
        """Bytes of the KV cache at load."""
        return self.kv_bytes // self.sequences * self.first_sequences if self.grows else self.kv_bytes


def machine() -> Machine:
    """Returns the resources of this machine, now."""
    gpus = [device for device in devices() if device.kind == "gpu"]
    best = max(gpus, key=lambda device: device.free_bytes, default=None)
    return Machine(cores=cores(), free_bytes=available_bytes(), gpu=best)


def gpu_layers(summary: Summary, options: LoadOptions, gpu: Device | None, kv_bytes: int) -> int:
    """Returns the layers that fit the free memory of the GPU, with a tenth left for its buffers; -1: all."""
    if options.gpu_layers != "auto":
        return options.gpu_layers
    if gpu is None:
        return 0
    room = gpu.free_bytes * 0.9 - kv_bytes
    if room >= summary.file_bytes:
        return -1
    each = summary.file_bytes / max(summary.layers, 1)
    return max(int(room / each), 0)


def _check_kv_type(summary: Summary, kv_type: str) -> None:
    """Raises `BadOption` where a model cannot have a quantized cache."""
    if kv_type == "f16":
        return
    for what, width in zip(("keys", "values"), summary.head_widths, strict=True):
        if width % KV_BLOCK:
            raise BadOption(
                f"`kv_type` {kv_type!r} keeps {KV_BLOCK} numbers together, and the {what} of this model have {width}",
                field="kv_type",
                hint='"f16" is what it can have',
            )
    if summary.architecture in NO_FLASH_ATTENTION:
        raise BadOption(
            f"`kv_type` {kv_type!r} needs flash attention, which llama.cpp does not have for {summary.architecture}",
            field="kv_type",
            hint='"f16" is what it can have',
        )


def _choose_context(summary: Summary, options: LoadOptions, fits: int, possible: int) -> tuple[int, str]:
    """Returns the most tokens of one call, and why, in words.

    By default what the model was trained for, if one sequence of that length `fits` the budget of the KV cache; else
    what fits it, or `LONG_CONTEXT` where that is `possible` with all memory.
    """
    trained = summary.context or UNKNOWN_CONTEXT
    if options.context:
        beyond = f", beyond the {trained} that it was trained for" if options.context > trained else ""
        return -(-options.context // 256) * 256, f"configured{beyond}"
    wanted, why = trained, "what the model was trained for"
    if summary.rope_scaling == "longrope" and wanted > LONG_CONTEXT:
        # llama.cpp computes a sequence that may be long with other factors, from its beginning
        wanted, why = LONG_CONTEXT, f"beyond it this model reads short texts worse; it was trained for {trained}"
    count = options.sequences or 1
    allowed = max(min(max(fits // count, LONG_CONTEXT), possible // count), LEAST_CONTEXT)
    if allowed >= wanted:
        return -(-wanted // 256) * 256, why
    return allowed // 256 * 256, f"what the memory has room for; the model was trained for {trained}"


def _no_memory(summary: Summary, options: LoadOptions, needed: int, tokens: int, free: int) -> OutOfMemory:
    """The error of a model that does not fit, with what would help."""
    if options.memory_bytes and free == options.memory_bytes:
        there, more = f"the budget is {free >> 20} MiB", "give it a larger budget"
    else:
        there, more = f"{free >> 20} MiB are free", "end other programs"
    smaller = [f"fewer than {options.sequences} `sequences`"] if options.sequences > 1 else []
    smaller += ["a smaller `context`"] if options.context > LEAST_CONTEXT else []
    if summary.file_bytes >= free or not smaller:
        smaller = ["a smaller model, or one with fewer bits"]
    return OutOfMemory(
        f"{needed >> 20} MiB are needed for the weights and {tokens} tokens, {there}",
        hint=f"choose {' or '.join(smaller)}, or {more}",
    )


def plan(summary: Summary, options: LoadOptions, on: Machine, *, own_process: bool = False) -> LoadPlan:
    """Decides how to load a model; raises `OutOfMemory` where it does not fit, `BadOption` for options that clash.

    In a process of its own (`own_process`) a model leaves no core for the event loop of a program.
    """
    _check_kv_type(summary, options.kv_type)
    if on.gpu is None and options.gpu_layers not in ("auto", 0):
        raise BadOption(
            f"`gpu_layers` is {options.gpu_layers}, and llama.cpp finds no GPU here",
            field="gpu_layers",
            hint="leave it out; `three-mode doctor` says what there is",
        )
    weights_on_gpu = on.gpu is not None and options.gpu_layers != 0
    unified = options.layout == "unified" or (options.layout == "auto" and weights_on_gpu)
    memory = on.gpu.free_bytes - summary.file_bytes if weights_on_gpu and on.gpu else on.free_bytes
    budget = int(min(max(memory, 0) * CACHE_SHARE, max(CACHE_CEILING, summary.file_bytes)))
    free = min(on.free_bytes, options.memory_bytes or on.free_bytes)
    room = max((on.gpu.free_bytes if weights_on_gpu and on.gpu else free) - summary.file_bytes, 0)
    if options.memory_bytes:
        budget = max(min(budget, options.memory_bytes - summary.file_bytes), 0)
    per_token = max(summary.kv_bytes(1, options.kv_type), 1)
    context, context_chosen = _choose_context(summary, options, budget // per_token, room // per_token)
    fits = max(budget // per_token, context)
    first_context = context
    if unified:
        pool = options.pool or min(fits, context * MOST_SEQUENCES)
        pool = max(-(-pool // 256) * 256, 256)
        if pool < context:
            context, context_chosen = pool, "all tokens of the `pool`"
        sequences = options.sequences or min(64 if weights_on_gpu else 16, options.batch)
        tokens = pool
        first_context = context
    else:
        if options.pool:
            raise BadOption("`pool` is of the unified layout; the split one has `context` x `sequences`", field="pool")
        if not options.context:
            first_context = min(context, FIRST_CONTEXT)
        sequences = options.sequences or max(1, min(fits // first_context, WIDTHS[-1], options.batch))
        tokens = sequences * first_context
    if options.batch < sequences:
        raise BadOption(
            f"`batch` is {options.batch}: every one of {sequences} sequences writes in every step",
            field="batch",
        )
    needed = summary.memory_bytes(tokens if options.sequences or unified else first_context, options.kv_type)
    if needed > free and not weights_on_gpu:
        raise _no_memory(summary, options, needed, tokens, free)
    first = max(1, min(FIRST_CACHE // (first_context * per_token), FIRST_SEQUENCES, sequences))
    most_threads = options.threads or on.cores
    # one core is left for the event loop
    threads = options.threads or (on.cores if own_process else max(on.cores - 1, 1))
    return LoadPlan(
        context=context,
        context_chosen=context_chosen,
        sequences=sequences,
        first_sequences=sequences if options.sequences else first,
        first_context=first_context,
        most_tokens=max(fits, tokens),
        shape=ContextShape(
            sequences=sequences,
            tokens=tokens,
            batch=options.batch,
            threads=threads,
            unified=unified,
            kv_type=options.kv_type,
        ),
        threads=threads,
        most_threads=most_threads,
        gpu_layers=gpu_layers(summary, options, on.gpu, tokens * per_token),
        device=on.gpu.description if weights_on_gpu and on.gpu else "CPU",
        measure=not options.sequences,
        kv_bytes=tokens * per_token,
    )


def default_context(summary: Summary) -> tuple[int, str]:
    """Returns the most tokens of one call that a model gets here by default, and why; raises `OutOfMemory`."""
    chosen = plan(summary, LoadOptions(), machine())
    return chosen.context, chosen.context_chosen
