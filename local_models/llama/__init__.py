"""The one folder that touches llama.cpp, through llama-cpp-python's ctypes.

Rules of this folder
- Short calls go through a second handle on the same library that keeps the GIL (`PyDLL`): dropping and re-taking it costs
  more than the call, and a busy event loop can hold it for a whole switch interval. Long calls (load, decode, state) drop it.
- llama.cpp aborts the process on a broken invariant, so everything is checked here or before: batch length, sequence ids,
  positions that continue the sequence, and grammars that did not parse (a NULL sampler).
- A context belongs to one thread. Only the vocabulary may be read from others.
- `llama_backend_free` is global to the process and is never called.
"""

from local_models.llama.context import Context, ContextShape, Floats
from local_models.llama.library import Device, devices, library, system_info, version
from local_models.llama.sampling import Sampler, Sampling
from local_models.llama.weights import Weights

__all__ = [
    "Context",
    "ContextShape",
    "Device",
    "Floats",
    "Sampler",
    "Sampling",
    "Weights",
    "devices",
    "library",
    "system_info",
    "version",
]
