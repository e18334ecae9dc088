"""Context: a KV cache, and the batch that is decoded into it."""

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_models.errors import BadOption, EngineFailed, LocalModelError, OutOfMemory, translate_errors
from local_models.llama.library import last_errors, library, recent_errors, uses_amx
from local_models.llama.shape import ContextShape
from local_models.llama.weights import Weights

Floats = NDArray[np.float32]
COSTLY_PASS = 16 << 20  # bytes of weights from which on a pass over them costs more than the work of sparing it
_GGML_TYPES = {"f16": 1, "q4_0": 2, "q8_0": 8}
_STREAMS = slice(8, 12)  # bytes of the state of a sequence that say how many streams its cache has


def _refused(shape: ContextShape) -> LocalModelError:
    """The error of a context that llama.cpp did not make."""
    why = last_errors()
    if shape.kv_type != "f16" and any(word in why.lower() for word in ("cache type", "quantized", "flash")):
        return BadOption(
            f"this model cannot have a KV cache of {shape.kv_type!r}: {why}",
            field="kv_type",
            hint='"f16" is what every model can have',
        )
    return OutOfMemory(
        f"no KV cache of {shape.tokens} tokens in {shape.sequences} sequences: {why}",
        hint="end other programs, or load the model with fewer `sequences` or a smaller `context`",
    )


class Context:
    """KV cache and the buffers to decode with; belongs to one thread."""

    def __init__(self, weights: Weights, shape: ContextShape) -> None:
        self._lib = library()
        self._weights = weights
        self.shape = shape
        api = self._lib.api
        params = api.llama_context_default_params()
        params.n_ctx = shape.tokens
        params.n_batch = params.n_ubatch = shape.batch
        params.n_seq_max = shape.sequences
        params.n_threads = params.n_threads_batch = shape.threads
        params.kv_unified = shape.unified
        params.swa_full = True  # a sliding window forgets old tokens, and a prefix could not be reused
        params.no_perf = True
        params.embeddings = shape.embeddings
        if shape.embeddings and shape.mean:
            params.pooling_type = api.LLAMA_POOLING_TYPE_MEAN
        params.type_k = params.type_v = _GGML_TYPES[shape.kv_type]
        recent_errors.clear()
        with translate_errors("make a KV cache"):
            self._ctx = api.llama_init_from_model(weights._model, params)
        if not self._ctx:
            raise _refused(shape)
        self._handle = ctypes.c_void_p(ctypes.cast(self._ctx, ctypes.c_void_p).value)
        self._memory = ctypes.c_void_p(ctypes.cast(api.llama_get_memory(self._ctx), ctypes.c_void_p).value)
        self.sequence_tokens = int(api.llama_n_ctx_seq(self._ctx))
        self.total_tokens = int(api.llama_n_ctx(self._ctx))
        self._copies_state = not shape.unified and not weights.gpu_layers
        self.most_fillers = 0  # most sequences in a gap between others that are worth a token: see `fillers`
        worth_it = weights.size_bytes >= COSTLY_PASS and not weights.recurrent and not shape.embeddings
        if self._copies_state and worth_it:
            self.most_fillers = 3 if uses_amx() else 1
        self._copied_state: tuple[int, Any, int] | None = (
            None  # sequence, its state for the copies of a step, and the bytes of it
        )
        self._logits: Floats | None = None  # view of the last logits; replaced when their address changes
        self._logits_at = (0, 0)
        self.threads = shape.threads  # of the next decode; `use_threads` changes them
        #: Whether the model scores sequences, as its file says.
        self.ranks = shape.embeddings and api.llama_pooling_type(self._ctx) == api.LLAMA_POOLING_TYPE_RANK
        self._make_batch()

    def use_threads(self, count: int) -> None:
        """Sets the threads that compute from the next decode on."""
        if count != self.threads:
            self._lib.api.llama_set_n_threads(self._ctx, count, count)
            self.threads = count

    def _make_batch(self) -> None:
        """Makes the arrays of the batch once: a step fills them with a few vector stores."""
        count = self.shape.batch
        self.tokens = np.zeros(count, np.int32)
        self.positions = np.zeros(count, np.int32)
        self.sequence = np.zeros(count, np.int32)
        self.wanted = np.zeros(count, np.int8)
        self._ones = np.ones(count, np.int32)
        # an array of pointers, each to one element of `sequence`
        self._sequence_pointers = self.sequence.ctypes.data + 4 * np.arange(count + 1, dtype=np.uint64)
        batch = self._lib.api.llama_batch()

        def pointer(array: NDArray[Any], kind: Any) -> Any:
            return ctypes.cast(array.ctypes.data, kind)

        fields = dict(self._lib.api.llama_batch._fields_)
        batch.token = pointer(self.tokens, fields["token"])
        batch.pos = pointer(self.positions, fields["pos"])
        batch.n_seq_id = pointer(self._ones, fields["n_seq_id"])
        batch.seq_id = pointer(self._sequence_pointers, fields["seq_id"])
        batch.logits = pointer(self.wanted, fields["logits"])
        self._batch = batch

    def decode(self, count: int) -> int:
        """Decodes the first `count` entries of the batch. 0: done, 1: no room, 2: aborted, < 0: broken."""
        if not 0 < count <= self.shape.batch:
            raise EngineFailed(f"a step of {count} tokens; the batch holds {self.shape.batch}")
        self._batch.n_tokens = count
        self._copied_state = None
        code = int(self._lib.api.llama_decode(self._ctx, self._batch))
        if code == 0:
            self._lib.api.llama_synchronize(self._ctx)
        return code

    def decode_rows(self, sequence: int, start: int, rows: Floats, *, causal: bool) -> int:
        """Decodes rows in place of embeddings of tokens, at positions from `start` on. `causal=False`: they see each
        other, and have to fit a batch. Returns what `decode` does."""
        size = self.shape.batch
        if not causal and len(rows) > size:
            raise EngineFailed(f"{len(rows)} rows belong together; the batch holds {size}", hint="raise `batch`")
        batch, api = self._lib.api.llama_batch(), self._lib.api
        for name, _ in batch._fields_:
            setattr(batch, name, getattr(self._batch, name))
        batch.token = None
        if not causal:
            api.llama_set_causal_attn(self._ctx, False)
        try:
            for at in range(0, len(rows), size):
                part = np.ascontiguousarray(rows[at : at + size])
                count = batch.n_tokens = len(part)
                batch.embd = ctypes.cast(part.ctypes.data, dict(batch._fields_)["embd"])
                self.positions[:count] = range(start + at, start + at + count)
                self.sequence[:count] = sequence
                self.wanted[:count] = 0
                self._copied_state = None
                if code := int(api.llama_decode(self._ctx, batch)):
                    return code
            api.llama_synchronize(self._ctx)
        finally:
            if not causal:
                api.llama_set_causal_attn(self._ctx, True)
        return 0

    def logits(self, outputs: int) -> Floats:
        """Returns all outputs of the last decode, in batch order, as a view that the next decode overwrites."""
        address = self._lib.quick.llama_get_logits(self._handle)
        if not address:
            raise EngineFailed("llama.cpp has no logits for this step")
        if self._logits is None or self._logits_at != (address, outputs):
            count = outputs * self._weights.vocabulary
            flat = np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))
            self._logits = flat.reshape(outputs, self._weights.vocabulary)
            self._logits_at = (address, outputs)
        return self._logits

    def pooled(self, sequence: int, row: int) -> Floats:
        """Returns the vector of a sequence, or of its last token where the model does not pool."""
        quick = self._lib.quick
        address = quick.llama_get_embeddings_seq(self._handle, sequence)
        address = address or quick.llama_get_embeddings_ith(self._handle, row)
        if not address:
            raise EngineFailed("this model gives no embeddings")
        width = self._weights.embedding_width
        if self.ranks:  # the score of a class in place of a vector: its buffer is shorter
            raise EngineFailed("this model reranks, and gives no embeddings")
        return np.ctypeslib.as_array((ctypes.c_float * width).from_address(address)).copy()

    def score(self, sequence: int) -> float:
        """Returns the score that a reranker gave to a sequence."""
        address = self._lib.quick.llama_get_embeddings_seq(self._handle, sequence) if self.ranks else 0
        if not address:
            raise EngineFailed("this model gives no scores")
        return float(ctypes.c_float.from_address(address).value)

    def keep(self, sequence: int, length: int) -> bool:
        """Drops the tokens of a sequence from position `length` on; False: this model cannot drop a part."""
        self._invalidate_state(sequence)
        return bool(self._lib.quick.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def copy(self, source: int, target: int) -> None:
        """Makes the target a copy of the source.

        Between split sequences in memory, the state of the source is copied. llama.cpp's own copy would move the whole
        room of a sequence at the next decode.
        """
        if source == target:
            return
        self._invalidate_state(target)
        if not (self._copies_state and self._copy_state(source, target)):
            self._lib.quick.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def _copy_state(self, source: int, target: int) -> bool:
        if self._copied_state is None or self._copied_state[0] != source:
            self._copied_state = (source, *self._read_state(source))
        _, state, size = self._copied_state
        return size > 0 and bool(self._lib.api.llama_state_seq_set_data(self._ctx, state, size, target))

    def _invalidate_state(self, sequence: int) -> None:
        if self._copied_state is not None and self._copied_state[0] == sequence:
            self._copied_state = None

    def length(self, sequence: int) -> int:
        """Returns the tokens that a sequence holds."""
        return int(self._lib.quick.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def clear(self) -> None:
        """Empties the KV cache."""
        self._copied_state = None
        self._lib.api.llama_memory_clear(self._lib.api.llama_get_memory(self._ctx), False)

    def _read_state(self, sequence: int) -> tuple[Any, int]:
        api = self._lib.api
        size = int(api.llama_state_seq_get_size(self._ctx, sequence))
        buffer = (ctypes.c_uint8 * size)()
        return buffer, int(api.llama_state_seq_get_data(self._ctx, buffer, size, sequence))

    def save(self, sequence: int) -> bytes:
        """Returns the KV state of a sequence."""
        buffer, written = self._read_state(sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, state: bytes) -> bool:
        """Replaces the KV state of a sequence; False: llama.cpp does not take it."""
        self._invalidate_state(sequence)
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(self._lib.api.llama_state_seq_set_data(self._ctx, buffer, len(state), sequence))

    @property
    def streams(self) -> int:
        """Streams of the cache, which its states name."""
        return 1 if self.shape.unified else self.shape.sequences

    def state(self, sequence: int) -> NDArray[np.uint8]:
        """Returns the KV state of a sequence, with one copy."""
        api = self._lib.api
        size = int(api.llama_state_seq_get_size(self._ctx, sequence))
        state = np.empty(size, np.uint8)
        buffer = (ctypes.c_uint8 * size).from_buffer(state.data)
        return state[: int(api.llama_state_seq_get_data(self._ctx, buffer, size, sequence))]

    def put_state(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Replaces the KV state of a sequence, with one copy; False: llama.cpp does not take it."""
        self._invalidate_state(sequence)
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state.data)
        return bool(self._lib.api.llama_state_seq_set_data(self._ctx, buffer, len(state), sequence))

    def take_over(self, other: "Context", sequence: int) -> bool:
        """Takes the KV state of a sequence from a context with more or fewer sequences, of any length that holds it;
        False: it has to be computed again.

        A split cache writes a state as its number of streams, then the number of cells of each stream, with the cells
        of the sequence behind that of its own. Caches of several parts, for sliding windows or recurrent layers, do
        not. llama.cpp has to give the state back as it was put in.
        """
        weights = self._weights
        if self.shape.unified or weights.recurrent or weights.sliding_window:
            return False
        more = self.shape.sequences - other.shape.sequences
        state = other.save(sequence)
        if int.from_bytes(state[_STREAMS], sys.byteorder) != other.shape.sequences:
            return False
        changed = state[: _STREAMS.start] + self.shape.sequences.to_bytes(4, sys.byteorder) + state[_STREAMS.stop :]
        if more < 0:
            gone = bytes(-4 * more)  # the streams behind it, which are empty
            if not changed.endswith(gone):
                return False
            changed = changed[: 4 * more]
        else:
            changed += bytes(4 * more)
        return self.restore(sequence, changed) and self.save(sequence) == changed

    def adapters(self, chosen: Sequence[tuple[int, float]]) -> None:
        """Applies exactly these adapters, each a pointer and its scale."""
        count = len(chosen)
        kind = self._lib.api.llama_adapter_lora_p_ctypes
        pointers = (kind * count)(*[ctypes.cast(pointer, kind) for pointer, _ in chosen])
        scales = (ctypes.c_float * count)(*[scale for _, scale in chosen])
        if self._lib.api.llama_set_adapters_lora(self._ctx, pointers, count, scales):
            raise EngineFailed("llama.cpp refused these LoRA adapters together")

    def close(self) -> None:
        """Frees the context. May be called again."""
        context, self._ctx = self._ctx, None
        if context:
            self._lib.api.llama_free(context)
