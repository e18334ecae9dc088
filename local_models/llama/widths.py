"""Width measurement: how many sequences to decode together on this device, measured at load."""

import time

import msgspec

from local_models.llama.context import Context, ContextShape
from local_models.llama.sizing import WIDTHS
from local_models.llama.weights import Weights

ENOUGH = 0.95  # part of the best rate that is enough: a narrower step answers sooner
PATIENCE = 1.5  # seconds of measurement; a slow model is measured at few widths


def measure_width(weights: Weights, shape: ContextShape) -> tuple[int, str]:
    """Returns the narrowest width that nearly reaches the best rate, and the rates in words; warms up the weights."""
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
                before = time.perf_counter()
                if context.decode(width) != 0:
                    break
                if attempt:  # the first attempt touches the memory
                    best = min(best, time.perf_counter() - before)
            if best < float("inf"):
                rates[width] = width / best
            if time.perf_counter() - started > PATIENCE:
                break
    finally:
        context.close()
    if not rates:
        return most, "not measured"
    top = max(rates.values())
    if max(rates) < most and rates[max(rates)] == top:
        chosen = most  # the rates were still rising when the time was over
    else:
        chosen = next(width for width in sorted(rates) if rates[width] >= ENOUGH * top)
    words = ", ".join(f"{width}: {rate:.0f}" for width, rate in rates.items())
    return chosen, f"measured tokens/s by width: {words}"
