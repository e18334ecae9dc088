"""Sizing: sequences, context, layout and threads of a model on this machine. Pure except for `machine`."""

import os

import msgspec

from local_models.errors import BadOption, OutOfMemory
from local_models.gguf import Summary
from local_models.llama.library import Device, devices
from local_models.llama.shape import ContextShape
from local_models.options import LoadOptions

LONGEST_DEFAULT_CONTEXT = 4096
MOST_SEQUENCES = 256
CACHE_SHARE = 0.25  # part of the free memory for the KV cache, by default
CACHE_CEILING = 2 << 30  # bytes of the KV cache, or those of the weights if more
FIRST_CACHE = 128 << 20  # bytes of the KV cache at load: to clear a GiB takes half a second
FIRST_SEQUENCES = 8
WIDTHS = (1, 4, 8, 16, 32, 64)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Resources of this machine."""

    cores: int
    free_bytes: int  #: memory that is available
    gpu: Device | None = None  #: the GPU with most free memory


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions about how a model is loaded."""

    context: int  #: most tokens of one call
    sequences: int
    shape: ContextShape  #: shape of the context with all its sequences
    first_sequences: int  #: sequences at load where the cache may grow: split, and not configured
    threads: int  #: threads that compute while the event loop of the program needs a core
    most_threads: int  #: threads that compute while it does not
    gpu_layers: int  #: layers on the GPU; -1: all
    device: str  #: description of the device that computes
    measure: bool  #: True: the number of sequences is still to be measured, and `sequences` is its maximum
    kv_bytes: int  #: bytes of the KV cache with all its sequences

    @property
    def grows(self) -> bool:
        """Whether the cache has `first_sequences` at load, and more once they are needed."""
        return self.measure and not self.shape.unified

    @property
    def first_kv_bytes(self) -> int:
        """Bytes of the KV cache at load."""
        return self.kv_bytes // self.sequences * self.first_sequences if self.grows else self.kv_bytes


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _available_bytes() -> int:
    """Returns the memory that is available; on Linux without psutil, whose import takes as long as all else here."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        import psutil

        return int(psutil.virtual_memory().available)


def machine() -> Machine:
    """Returns the resources of this machine, now."""
    gpus = [device for device in devices() if device.kind == "gpu"]
    best = max(gpus, key=lambda device: device.free_bytes, default=None)
    return Machine(cores=_cores(), free_bytes=_available_bytes(), gpu=best)


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


def plan(summary: Summary, options: LoadOptions, on: Machine, *, own_process: bool = False) -> LoadPlan:
    """Decides how to load a model; raises `OutOfMemory` where it does not fit, `BadOption` for options that clash.

    In a process of its own (`own_process`) a model leaves no core for the event loop of a program.
    """
    context = options.context or min(summary.context or LONGEST_DEFAULT_CONTEXT, LONGEST_DEFAULT_CONTEXT)
    context = -(-context // 256) * 256  # llama.cpp rounds up to a multiple of 256
    weights_on_gpu = on.gpu is not None and options.gpu_layers != 0
    unified = options.layout == "unified" or (options.layout == "auto" and weights_on_gpu)
    memory = on.gpu.free_bytes - summary.file_bytes if weights_on_gpu and on.gpu else on.free_bytes
    budget = int(min(max(memory, 0) * CACHE_SHARE, max(CACHE_CEILING, summary.file_bytes)))
    per_token = max(summary.kv_bytes(1, options.kv_type), 1)
    fits = max(budget // per_token, context)
    if unified:
        pool = options.pool or min(fits, context * MOST_SEQUENCES)
        pool = max(-(-pool // 256) * 256, 256)
        context = min(context, pool)
        sequences = options.sequences or (64 if weights_on_gpu else 16)
        tokens = pool
    else:
        if options.pool:
            raise BadOption("`pool` is of the unified layout; the split one has `context` x `sequences`", field="pool")
        sequences = options.sequences or max(1, min(fits // context, WIDTHS[-1]))
        tokens = sequences * context
    if options.batch < sequences:
        raise BadOption(
            f"`batch` is {options.batch}: every one of {sequences} sequences writes in every step",
            field="batch",
        )
    needed = summary.memory_bytes(tokens, options.kv_type)
    if needed > on.free_bytes and not weights_on_gpu:
        raise OutOfMemory(
            f"{needed >> 20} MiB are needed for the weights and {tokens} tokens, {on.free_bytes >> 20} MiB are free",
            hint="choose a smaller `context` or `sequences`",
        )
    first = max(1, min(FIRST_CACHE // (context * per_token), FIRST_SEQUENCES, sequences))
    most_threads = options.threads or on.cores
    # one core is left for the event loop
    threads = options.threads or (on.cores if own_process else max(on.cores - 1, 1))
    return LoadPlan(
        context=context,
        sequences=sequences,
        first_sequences=first,
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
