"""Width measurement: how many sequences to decode together on this device, measured once for a file and a machine.

The results are in `$XDG_CACHE_HOME/three-mode/widths.json`. A file that was changed, another processor or GPU, another
number of threads or another build of llama.cpp is measured anew. How much memory is free, and so how many sequences
there could be, does not matter to what is remembered. What cannot be read or written there is measured again.
"""

import hashlib
import os
import platform
import time
from pathlib import Path

import msgspec

from local_models.llama.context import Context
from local_models.llama.library import devices, library
from local_models.llama.other_programs import seconds_of_other_programs
from local_models.llama.remembered import cache_folder, read_result, write_result
from local_models.llama.shape import ContextShape
from local_models.llama.sizing import WIDTHS
from local_models.llama.weights import Weights

ENOUGH = 0.95  # part of the best rate that is enough: a narrower step answers sooner
NOT_MEASURED = "not measured"
PATIENCE = 0.5  # seconds of measurement; a slow model is measured at few widths
BUSY = 0.2  # part of a core: where other programs take more, a result is not remembered
MOST_REMEMBERED = 256  # results; the oldest go first


class _Remembered(msgspec.Struct, frozen=True):
    """Result of a measurement."""

    width: int
    words: str  # the rates
    measured: float  # seconds since 1970
    widest: int = WIDTHS[-1]  # the most sequences that were tried

    def answer(self, most: int) -> int:
        """Returns the width for at most so many sequences; 0: it has to be measured for them."""
        if not 1 <= self.width <= self.widest:
            return 0
        rising = self.width == self.widest
        return 0 if rising and most > self.widest else min(self.width, most)


def _cache_file() -> Path:
    return cache_folder() / "widths.json"


def _processor() -> str:
    """Returns the model of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _gpus() -> tuple[str, ...]:
    """Returns the descriptions of the GPUs."""
    return tuple(device.description for device in devices() if device.kind == "gpu")


def _key(path: str, shape: ContextShape, gpu_layers: int) -> str:
    file = os.stat(path)
    facts = (
        os.path.realpath(path),
        file.st_size,
        file.st_mtime_ns,
        _processor(),
        os.cpu_count(),
        library().build,
        (gpu_layers, _gpus()) if gpu_layers else 0,
        (shape.threads, shape.unified, shape.kv_type),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _read() -> dict[str, _Remembered]:
    return read_result(_cache_file(), dict[str, _Remembered]) or {}


def _write(results: dict[str, _Remembered]) -> None:
    newest = sorted(results.items(), key=lambda item: item[1].measured)[-MOST_REMEMBERED:]
    write_result(_cache_file(), dict(newest))


def known_width(weights: Weights, path: str, shape: ContextShape) -> tuple[int, str]:
    """Returns what `measure_width` returned for this file on this machine before, or measures."""
    try:
        key = _key(path, shape, weights.gpu_layers)
    except OSError:
        return measure_width(weights, shape)
    found, most = _read().get(key), shape.sequences
    if found is not None and (width := found.answer(most)):
        return width, found.words
    began, others = time.perf_counter(), seconds_of_other_programs()
    width, words = measure_width(weights, shape)
    calm = seconds_of_other_programs() - others <= BUSY * (time.perf_counter() - began)
    if words != NOT_MEASURED and calm:
        _write(_read() | {key: _Remembered(width, words, time.time(), most)})
    return width, words


def measure_width(weights: Weights, shape: ContextShape) -> tuple[int, str]:
    """Returns the narrowest width that nearly reaches the best rate, and the rates in words.

    The rates are by processor time, which hardly depends on what else the machine does; on a GPU by the clock.
    """
    clock = time.perf_counter if weights.gpu_layers else time.process_time
    most = shape.sequences
    widths = [width for width in WIDTHS if width < most] + [most]
    small = msgspec.structs.replace(shape, tokens=256 * most if not shape.unified else max(256, 16 * most))
    context = Context(weights, small)
    started = time.perf_counter()
    rates: dict[int, float] = {}
    try:
        for width in widths:
            context.clear()
            best = float("inf")
            for attempt in range(4):
                context.tokens[:width] = weights.bos if weights.bos >= 0 else 0
                context.positions[:width] = attempt
                context.sequence[:width] = range(width)
                context.wanted[:width] = 1
                before = clock()
                if context.decode(width) != 0 or time.perf_counter() - started > PATIENCE:
                    break
                if attempt:  # the first attempt touches the memory
                    best = min(best, clock() - before)
            if best < float("inf"):
                rates[width] = width / best
            if time.perf_counter() - started > PATIENCE:
                break
    finally:
        context.close()
    if not rates:
        return most, NOT_MEASURED
    top = max(rates.values())
    if max(rates) < most and rates[max(rates)] == top:
        chosen = most  # the rates were still rising when the time was over
    else:
        chosen = next(width for width in sorted(rates) if rates[width] >= ENOUGH * top)
    words = ", ".join(f"{width}: {rate:.0f}" for width, rate in rates.items())
    return chosen, f"measured tokens/s by width: {words}"
