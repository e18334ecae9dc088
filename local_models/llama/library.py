"""Library: loads llama.cpp once, checks its structs, and binds its short calls so that they keep the GIL."""

import ctypes
import os
import threading
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from local_models.errors import EngineMissing, translate_errors
from local_models.llama.bindings import bindings
from local_models.openmp import short_spin

PACKAGE = "llama-cpp-python"
AMX_MARK = "three_mode_amx_tiles_are_whole"  # symbol of scripts/llama_amx_tiles.h
recent_errors: deque[str] = deque(maxlen=8)  # lines of llama.cpp's log; cleared before a call that may fail


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Device that ggml can compute on."""

    name: str
    description: str
    kind: str  #: "cpu", "gpu", "igpu", "accelerator" or "other"
    free_bytes: int
    total_bytes: int


class _Library:
    """The declarations of llama_cpp in `api`, handles that keep the GIL in `quick` and `ggml`, and the captured log.

    `build` tells one build of the library from another.
    """

    def __init__(self) -> None:
        os.environ.update(short_spin())
        with translate_errors("run local models"):
            self.api: Any = bindings()
        base = Path(self.api.__file__).parent / "lib"
        self.quick = ctypes.PyDLL(str(base / "libllama.so"))
        about = os.stat(base / "libllama.so")
        self.build = (about.st_size, about.st_mtime_ns)
        self.ggml = ctypes.PyDLL(str(base / "libggml.so"))
        self._check_structs()
        self._bind()
        self._log = self.api.llama_log_callback(self._logged)  # llama.cpp calls it for as long as the process lives
        self.api.llama_log_set(self._log, ctypes.c_void_p(0))
        self.api.llama_backend_init()

    def _check_structs(self) -> None:
        """Checks known defaults: ctypes structs are written by hand, and one field too many shifts all after it."""
        context, model = self.api.llama_context_default_params(), self.api.llama_model_default_params()
        right = (
            (context.n_batch, context.n_ubatch, context.n_seq_max, context.type_k, context.type_v)
            == (2048, 512, 1, 1, 1)
            and (bool(context.offload_kqv), bool(context.kv_unified), bool(context.embeddings)) == (True, False, False)
            and (bool(model.vocab_only), bool(model.check_tensors)) == (False, False)
        )
        if not right:
            raise EngineMissing(
                f"llama-cpp-python {_version()} has other structs than its llama.cpp",
                hint="install the version that the `local` extra pins",
            )

    def _bind(self) -> None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int32
        short: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("llama_sampler_sample", integer, (pointer, pointer, integer)),
            ("llama_sampler_accept", None, (pointer, integer)),
            ("llama_sampler_apply", None, (pointer, pointer)),
            ("llama_memory_seq_rm", ctypes.c_bool, (pointer, integer, integer, integer)),
            ("llama_memory_seq_cp", None, (pointer, integer, integer, integer, integer)),
            ("llama_memory_seq_pos_min", integer, (pointer, integer)),
            ("llama_memory_seq_pos_max", integer, (pointer, integer)),
            ("llama_get_logits", pointer, (pointer,)),
            ("llama_get_logits_ith", pointer, (pointer, integer)),
            ("llama_get_embeddings_seq", pointer, (pointer, integer)),
            ("llama_get_embeddings_ith", pointer, (pointer, integer)),
            ("llama_vocab_is_eog", ctypes.c_bool, (pointer, integer)),
            ("llama_vocab_get_attr", integer, (pointer, integer)),
            ("llama_token_to_piece", integer, (pointer, integer, ctypes.c_char_p, integer, integer, ctypes.c_bool)),
        )
        for name, result, arguments in short:
            function = getattr(self.quick, name)
            function.restype, function.argtypes = result, arguments
        of_ggml: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("ggml_backend_dev_count", ctypes.c_size_t, ()),
            ("ggml_backend_dev_get", pointer, (ctypes.c_size_t,)),
            ("ggml_backend_dev_name", ctypes.c_char_p, (pointer,)),
            ("ggml_backend_dev_description", ctypes.c_char_p, (pointer,)),
            ("ggml_backend_dev_type", ctypes.c_int, (pointer,)),
            ("ggml_backend_dev_memory", None, (pointer, pointer, pointer)),
        )
        for name, result, arguments in of_ggml:
            function = getattr(self.ggml, name)
            function.restype, function.argtypes = result, arguments

    def _logged(self, level: int, text: bytes, _user: object) -> None:
        if level >= 3:  # warnings and errors
            line = text.decode("utf-8", "replace").strip()
            if line:
                recent_errors.append(line)


_once = threading.Lock()


@cache
def _library_once() -> _Library:
    return _Library()


def library() -> _Library:
    """Returns llama.cpp, loaded on the first call; raises `EngineMissing`."""
    with _once:  # `cache` alone may build two
        return _library_once()


def last_errors() -> str:
    """Returns the last warnings and errors of llama.cpp's log, in one line."""
    return "; ".join(recent_errors) or "llama.cpp gave no reason"


def version() -> str:
    """Returns the version of llama-cpp-python."""
    library()  # one that cannot be loaded is told first
    return _version()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of  # the import takes as long as that of the declarations

    try:
        return version_of(PACKAGE)
    except PackageNotFoundError as error:
        raise EngineMissing(f"{PACKAGE} is not installed", hint="pip install 'three-mode[local]'") from error


def system_info() -> str:
    """Returns the features of the processor that llama.cpp uses."""
    return str(library().api.llama_print_system_info().decode())


def amx_is_sound() -> bool:
    """Returns whether llama.cpp may use AMX tiles, if it was compiled for a processor that has them.

    GCC before 13.3 compiles them wrongly, and the first quantized weights end the process. `make venv` compiles them
    rightly and leaves a mark; THREE_MODE_AMX=1 vouches for a library that came from elsewhere.
    """
    if "AMX_INT8 = 1" not in system_info():
        return True
    return _amx_is_whole()


@cache
def uses_amx() -> bool:
    """Returns whether llama.cpp computes in AMX tiles: a pass over the weights then costs more than a few tokens."""
    return "AMX_INT8 = 1" in system_info() and _amx_is_whole()


def _amx_is_whole() -> bool:
    return hasattr(library().quick, AMX_MARK) or os.environ.get("THREE_MODE_AMX") == "1"


def devices() -> tuple[Device, ...]:
    """Returns the devices that ggml supports and found on this machine; the CPU is always among them."""
    ggml = library().ggml
    found = []
    for index in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        kinds = ("cpu", "gpu", "igpu", "accelerator")
        number = ggml.ggml_backend_dev_type(device)
        found.append(
            Device(
                name=ggml.ggml_backend_dev_name(device).decode(),
                description=ggml.ggml_backend_dev_description(device).decode(),
                kind=kinds[number] if 0 <= number < len(kinds) else "other",
                free_bytes=free.value,
                total_bytes=total.value,
            )
        )
    return tuple(found)
