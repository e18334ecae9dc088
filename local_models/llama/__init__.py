"""Access to llama.cpp through llama-cpp-python's ctypes; no other package of the product imports it.

Rules of this folder
- Short calls go through a second handle on the same library that keeps the GIL (`PyDLL`). To drop and re-take the GIL
  costs more than the call, and a busy event loop can hold it for a whole switch interval. Long calls (load, decode,
  state) drop the GIL.
- llama.cpp aborts the process on a broken invariant, so all input is checked here or before: batch length, sequence
  ids, positions that continue the sequence, and grammars that did not parse (a NULL sampler).
- A context belongs to one thread. Other threads may read only the vocabulary.
- `llama_backend_free` affects the whole process and is never called.
"""

from typing import TYPE_CHECKING

from local_models.lazy import lazy_names
from local_models.llama.library import Device, amx_is_sound, devices, library, system_info, version

if TYPE_CHECKING:
    from local_models.llama.context import Context as Context
    from local_models.llama.context import Floats as Floats
    from local_models.llama.sampling import Sampler as Sampler
    from local_models.llama.sampling import Sampling as Sampling
    from local_models.llama.shape import ContextShape as ContextShape
    from local_models.llama.sizing import default_context as default_context
    from local_models.llama.weights import Weights as Weights

_DEFINED_IN = {  # imported on first use: the devices can be listed without numpy
    "Context": "local_models.llama.context",
    "ContextShape": "local_models.llama.shape",
    "Floats": "local_models.llama.context",
    "Sampler": "local_models.llama.sampling",
    "Sampling": "local_models.llama.sampling",
    "Weights": "local_models.llama.weights",
    "default_context": "local_models.llama.sizing",
}

__all__ = ["Device", "amx_is_sound", "devices", "library", "system_info", "version", *_DEFINED_IN]

__getattr__ = lazy_names(__name__, _DEFINED_IN)
