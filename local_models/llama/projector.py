"""Projector: turns an image into rows that stand in a prompt in place of the embeddings of tokens, by llama.cpp's mtmd.

A projector is a file beside that of its model. What it makes of an image may be several runs of rows with tokens
between them: marks that the model was trained on, or the parts of a large image.
"""

import ctypes
import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from local_models.errors import BadModelFile, BadOption, EngineFailed, EngineMissing, ModelClosed
from local_models.gguf.reader import read
from local_models.llama.context import Floats
from local_models.llama.library import last_errors, library, recent_errors
from local_models.llama.weights import Weights

KEPT_BYTES = 64 << 20  # rows of images that are kept for the next turn of their conversation
_TEXT = 0  # the type of a chunk of tokens
_NO_PROGRAM = b"/dev/null"  # where mtmd looks for a program that decodes what is no image: none is run


@dataclass(frozen=True, slots=True, eq=False)
class ImageRows:
    """A run of rows of an image. `stand_ins` are numbers below 0, which no token has: the same for the same image, in
    every process, and others for another one."""

    rows: Floats
    stand_ins: tuple[int, ...]
    causal: bool  # False: its rows see each other, and are decoded together


Pieces = tuple["list[int] | ImageRows", ...]
"""What an image is in a prompt: tokens and rows in turn."""


class Projector:
    """A loaded projector, for one model. `encode` may be called from any thread, one at a time; others wait."""

    def __init__(self, weights: Weights, path: str, *, threads: int, gpu: bool) -> None:
        header = read(path)
        if header.metadata.get("general.architecture") != "clip":
            raise BadModelFile(
                f"{path}: this is no projector", path=path, hint="its file is named mmproj-... beside the model"
            )
        self.size_bytes = header.file_bytes
        self._api = _mtmd()
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Pieces] = OrderedDict()
        self._kept_bytes = 0
        about = os.stat(path)
        self._salt = f"{about.st_size} {about.st_mtime_ns}".encode()
        self._width = int(library().api.llama_model_n_embd_inp(weights._model))
        params = self._api.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.warmup, params.n_threads = gpu, False, False, threads
        recent_errors.clear()
        self._ctx: Any = self._api.mtmd_init_from_file(path.encode(), weights._model, params)
        if not self._ctx:
            raise BadModelFile(f"llama.cpp does not load this projector: {last_errors()}", path=path)
        refused = ""
        if not self._api.mtmd_support_vision(self._ctx):
            refused = "it reads no images"
        elif self._api.mtmd_decode_use_mrope(self._ctx):
            refused = "its model gives the rows of an image positions in two dimensions, which this engine cannot yet"
        if refused:
            self.close()
            raise BadModelFile(f"{path}: {refused}", path=path, hint="leave `projector` out to use the model for text")

    def encode(self, image: bytes) -> Pieces:
        """Returns what an image, PNG or JPEG, is in a prompt; raises `BadOption` for one that cannot be read."""
        key = hashlib.sha256(self._salt + image).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if not self._ctx:
                raise ModelClosed("the model is closed", hint="load it again")
            pieces = self._encoded(image, key)
            size = sum(piece.rows.nbytes for piece in pieces if isinstance(piece, ImageRows))
            self._kept[key], self._kept_bytes = pieces, self._kept_bytes + size
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= sum(piece.rows.nbytes for piece in oldest if isinstance(piece, ImageRows))
            return pieces

    def _encoded(self, image: bytes, key: bytes) -> Pieces:
        api = self._api
        buffer = (ctypes.c_uint8 * len(image)).from_buffer_copy(image)
        recent_errors.clear()
        how = api.mtmd_helper_init_opt_default()
        how.video_params.ffmpeg_bin_dir = _NO_PROGRAM
        bitmap = api.mtmd_helper_bitmap_init_from_buf(self._ctx, buffer, len(image), False, how)
        if not bitmap:
            raise BadOption("the picture is damaged: it cannot be decoded", field="messages")
        chunks = api.mtmd_input_chunks_init()
        try:
            marker = api.mtmd_get_marker(self._ctx)
            text = api.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (api.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if api.mtmd_tokenize(self._ctx, chunks, ctypes.byref(text), bitmaps, 1):
                raise BadOption(f"the image cannot be prepared: {last_errors()}", field="messages")
            found = [api.mtmd_input_chunks_get(chunks, at) for at in range(api.mtmd_input_chunks_size(chunks))]
            return tuple(self._piece(chunk, key + bytes([at & 255])) for at, chunk in enumerate(found))
        finally:
            api.mtmd_input_chunks_free(chunks)
            api.mtmd_bitmap_free(bitmap)

    def _piece(self, chunk: Any, key: bytes) -> "list[int] | ImageRows":
        api = self._api
        count = int(api.mtmd_input_chunk_get_n_tokens(chunk))
        if api.mtmd_input_chunk_get_type(chunk) == _TEXT:
            size = ctypes.c_size_t()
            tokens = api.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(size))
            return list(tokens[: size.value])
        if api.mtmd_encode_chunk(self._ctx, chunk):
            raise EngineFailed(f"llama.cpp could not encode an image: {last_errors()}")
        address = ctypes.cast(api.mtmd_get_output_embd(self._ctx), ctypes.POINTER(ctypes.c_float))
        rows = np.ctypeslib.as_array(address, (count, self._width)).copy()
        numbers = np.frombuffer(hashlib.shake_256(key).digest(4 * count), np.uint32) | np.uint32(1 << 31)
        causal = not api.mtmd_decode_use_non_causal(self._ctx, chunk)
        return ImageRows(rows, tuple(numbers.view(np.int32).tolist()), causal)

    def close(self) -> None:
        """Frees the projector, before its model. May be called again."""
        with self._lock:
            ctx, self._ctx = self._ctx, None
            if ctx:
                self._api.mtmd_free(ctx)


def _mtmd() -> Any:
    """Returns the declarations of mtmd, whose log goes where that of llama.cpp goes."""
    log = library()._log
    try:
        api: Any = import_module("llama_cpp.mtmd_cpp")
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as error:
        raise EngineMissing(
            f"llama-cpp-python was built without mtmd, which reads images: {error}", hint="leave `projector` out"
        ) from error
    set_log = api._libmtmd.mtmd_helper_log_set
    set_log.argtypes, set_log.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    set_log(ctypes.cast(log, ctypes.c_void_p), None)
    return api
