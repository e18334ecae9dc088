"""The one file that touches llama.cpp, through llama-cpp-python's ctypes.

Rules of this file
- Short calls go through a second handle on the same library that keeps the GIL (`PyDLL`): dropping and re-taking it costs
  more than the call, and a busy event loop can hold it for a whole switch interval. Long calls (load, decode, state) drop it.
- llama.cpp aborts the process on a broken invariant, so everything is checked here or before: batch length, sequence ids,
  positions that continue the sequence, and grammars that did not parse (a NULL sampler).
- A context belongs to one thread. Only the vocabulary may be read from others.
- `llama_backend_free` is global to the process and is never called.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from local_models.errors import BadGrammar, BadModelFile, EngineFailed, EngineMissing, OutOfMemory, foreign

Floats = NDArray[np.float32]
SPIN_COUNT = "2000"
_recent_errors: deque[str] = deque(maxlen=8)


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Something ggml can compute on."""

    name: str
    description: str
    kind: str  # cpu, gpu, igpu, accelerator
    free_bytes: int
    total_bytes: int


class _TokenData(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("logit", ctypes.c_float), ("p", ctypes.c_float)]


class _TokenDataArray(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("selected", ctypes.c_int64),
        ("sorted", ctypes.c_bool),
    ]


_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class _Library:
    """llama_cpp, its GIL-keeping twin, and the captured log."""

    def __init__(self) -> None:
        # llama.cpp's threads meet at hundreds of barriers a token. OpenMP's default is to spin there for milliseconds, which
        # starves whatever else wants a core, and then the barrier too; a short spin costs nothing on an idle machine.
        if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
            os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
        with foreign("run local models"):
            import llama_cpp

        self.api: Any = llama_cpp
        base = Path(llama_cpp.__file__).parent / "lib"
        self.quick = ctypes.PyDLL(str(base / "libllama.so"))
        self.ggml = ctypes.PyDLL(str(base / "libggml.so"))
        self._check_structs()
        self._bind()
        self._log = self.api.llama_log_callback(self._logged)  # referenced for as long as the process lives
        self.api.llama_log_set(self._log, ctypes.c_void_p(0))
        self.api.llama_backend_init()

    def _check_structs(self) -> None:
        """The ctypes structs follow llama.cpp's by hand: a field too many shifts all that come after it."""
        context, model = self.api.llama_context_default_params(), self.api.llama_model_default_params()
        right = (
            (context.n_batch, context.n_ubatch, context.n_seq_max, context.type_k, context.type_v)
            == (2048, 512, 1, 1, 1)
            and (bool(context.offload_kqv), bool(context.kv_unified), bool(context.embeddings))
            == (True, False, False)
            and (bool(model.vocab_only), bool(model.check_tensors)) == (False, False)
        )
        if not right:
            raise EngineMissing(
                f"llama-cpp-python {self.api.__version__} has other structs than its llama.cpp",
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
            ("llama_token_to_piece", integer, (pointer, integer, ctypes.c_char_p, integer, integer, ctypes.c_bool)),
        )  # fmt: skip
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
        )  # fmt: skip
        for name, result, arguments in of_ggml:
            function = getattr(self.ggml, name)
            function.restype, function.argtypes = result, arguments

    def _logged(self, level: int, text: bytes, _user: object) -> None:
        if level >= 3:  # warnings and errors
            line = text.decode("utf-8", "replace").strip()
            if line:
                _recent_errors.append(line)


_once = threading.Lock()


@cache
def _library_once() -> _Library:
    return _Library()


def library() -> _Library:
    with _once:  # `cache` alone may build two
        return _library_once()


def _why() -> str:
    return "; ".join(_recent_errors) or "llama.cpp gave no reason"


def version() -> str:
    return str(library().api.__version__)


def system_info() -> str:
    return str(library().api.llama_print_system_info().decode())


def devices() -> tuple[Device, ...]:
    """What ggml was built for and found here; the CPU is always among them."""
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


class Weights:
    """A loaded model: its weights and vocabulary, shared by every context on it."""

    def __init__(self, path: str, *, gpu_layers: int, mmap: bool) -> None:
        self._lib = library()
        api = self._lib.api
        params = api.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        if not mmap and hasattr(api, "LLAMA_LOAD_MODE_NONE"):
            params.load_mode = api.LLAMA_LOAD_MODE_NONE
        _recent_errors.clear()
        with foreign(f"load {path}"):
            self._model = api.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise BadModelFile(f"llama.cpp does not load this model: {_why()}", path=str(path))
        self._vocab = api.llama_model_get_vocab(self._model)
        self.vocabulary = int(api.llama_vocab_n_tokens(self._vocab))
        self.bos = int(api.llama_vocab_bos(self._vocab))
        self.eos = int(api.llama_vocab_eos(self._vocab))
        self.adds_bos = bool(api.llama_vocab_get_add_bos(self._vocab))
        self.trained_context = int(api.llama_model_n_ctx_train(self._model))
        self.layers = int(api.llama_model_n_layer(self._model))
        self.embedding_width = int(api.llama_model_n_embd_out(self._model))
        self.size_bytes = int(api.llama_model_size(self._model))
        self.parameters = int(api.llama_model_n_params(self._model))
        self.recurrent = bool(
            api.llama_model_is_recurrent(self._model) or api.llama_model_is_hybrid(self._model)
        )
        self.causal = bool(api.llama_model_has_decoder(self._model)) and not bool(
            api.llama_model_has_encoder(self._model)
        )
        self.ends = frozenset(
            token for token in range(self.vocabulary) if api.llama_vocab_is_eog(self._vocab, token)
        )
        unknown_or_control = int(api.LLAMA_TOKEN_ATTR_CONTROL) | int(api.LLAMA_TOKEN_ATTR_UNKNOWN)
        self.control = tuple(
            token
            for token in range(self.vocabulary)
            if api.llama_vocab_get_attr(self._vocab, token) & unknown_or_control
        )
        self._pieces: list[bytes | None] = [None] * self.vocabulary

    def text_of(self, token: int) -> str:
        """The token as its vocabulary spells it (for control tokens, which have no piece)."""
        return str(self._lib.api.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def piece(self, token: int) -> bytes:
        """The bytes a token adds to a text; asked once per token. Control tokens add none."""
        known = self._pieces[token]
        if known is None:
            size = 64
            while True:
                buffer = ctypes.create_string_buffer(size)
                length = self._lib.quick.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
                if length >= 0:
                    break
                size = -length
            known = buffer.raw[:length]
            self._pieces[token] = known
        return known

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        """`special` lets control tokens in the text be themselves: never for what a user wrote."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            buffer = (ctypes.c_int32 * room)()
            count = self._lib.api.llama_tokenize(self._vocab, raw, len(raw), buffer, room, start, special)
            if count >= 0:
                return list(buffer[:count])
            room = -count

    def adapter(self, path: str) -> int:
        _recent_errors.clear()
        found = self._lib.api.llama_adapter_lora_init(self._model, str(path).encode())
        if not found:
            raise BadModelFile(f"this LoRA adapter does not fit the model: {_why()}", path=str(path))
        return int(ctypes.cast(found, ctypes.c_void_p).value or 0)

    def close(self) -> None:
        """Frees the weights. Contexts and samplers on them must be gone."""
        model, self._model = self._model, None
        if model:
            self._lib.api.llama_model_free(model)


class ContextShape(msgspec.Struct, frozen=True, kw_only=True):
    """How a KV cache is laid out."""

    sequences: int
    tokens: int  # of all sequences together
    batch: int
    threads: int
    unified: bool
    kv_type: str = "f16"
    embeddings: bool = False
    mean: bool = False  # pool by the mean, where the model itself says nothing of pooling


class Context:
    """A KV cache and the buffers to decode with. One thread only."""

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
        params.swa_full = True  # a sliding window that forgets could not give a prefix back
        params.no_perf = True
        params.embeddings = shape.embeddings
        if shape.embeddings and shape.mean:
            params.pooling_type = api.LLAMA_POOLING_TYPE_MEAN
        if shape.kv_type == "q8_0":
            params.type_k = params.type_v = 8
        _recent_errors.clear()
        with foreign("make a KV cache"):
            self._ctx = api.llama_init_from_model(weights._model, params)
        if not self._ctx:
            raise OutOfMemory(
                f"no KV cache of {shape.tokens} tokens: {_why()}",
                hint="choose a smaller `context` or `sequences`",
            )
        self._handle = ctypes.c_void_p(ctypes.cast(self._ctx, ctypes.c_void_p).value)
        self._memory = ctypes.c_void_p(ctypes.cast(api.llama_get_memory(self._ctx), ctypes.c_void_p).value)
        self.sequence_tokens = int(api.llama_n_ctx_seq(self._ctx))
        self.total_tokens = int(api.llama_n_ctx(self._ctx))
        self._make_batch()

    def _make_batch(self) -> None:
        """Arrays that live as long as the context: a step fills them with a few vector stores."""
        count = self.shape.batch
        self.tokens = np.zeros(count, np.int32)
        self.positions = np.zeros(count, np.int32)
        self.sequence = np.zeros(count, np.int32)
        self.wanted = np.zeros(count, np.int8)
        self._one = np.ones(count, np.int32)
        # an array of pointers, each to one element of `sequence`
        self._sequence_at = self.sequence.ctypes.data + 4 * np.arange(count + 1, dtype=np.uint64)
        batch = self._lib.api.llama_batch()

        def pointer(array: NDArray[Any], kind: Any) -> Any:
            return ctypes.cast(array.ctypes.data, kind)

        fields = dict(self._lib.api.llama_batch._fields_)
        batch.token = pointer(self.tokens, fields["token"])
        batch.pos = pointer(self.positions, fields["pos"])
        batch.n_seq_id = pointer(self._one, fields["n_seq_id"])
        batch.seq_id = pointer(self._sequence_at, fields["seq_id"])
        batch.logits = pointer(self.wanted, fields["logits"])
        self._batch = batch

    def decode(self, count: int) -> int:
        """Runs the first `count` entries of the batch arrays: 0 done, 1 no room (nothing changed), 2 aborted, < 0 broken."""
        if not 0 < count <= self.shape.batch:
            raise EngineFailed(f"a step of {count} tokens; the batch holds {self.shape.batch}")
        self._batch.n_tokens = count
        code = int(self._lib.api.llama_decode(self._ctx, self._batch))
        if code == 0:
            self._lib.api.llama_synchronize(self._ctx)
        return code

    def logits(self, outputs: int) -> Floats:
        """All outputs of the last decode, in batch order, as a view that the next decode overwrites."""
        address = self._lib.quick.llama_get_logits(self._handle)
        if not address:
            raise EngineFailed("llama.cpp has no logits for this step")
        count = outputs * self._weights.vocabulary
        flat = np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))
        return flat.reshape(outputs, self._weights.vocabulary)

    def pooled(self, sequence: int, row: int) -> Floats:
        """A sequence's embedding, or the last token's where the model does not pool."""
        quick = self._lib.quick
        address = quick.llama_get_embeddings_seq(self._handle, sequence)
        address = address or quick.llama_get_embeddings_ith(self._handle, row)
        if not address:
            raise EngineFailed("this model gives no embeddings")
        width = self._weights.embedding_width
        return np.ctypeslib.as_array((ctypes.c_float * width).from_address(address)).copy()

    def keep(self, sequence: int, length: int) -> bool:
        """Forgets what a sequence holds from position `length` on. False where the model cannot forget a part."""
        return bool(self._lib.quick.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def copy(self, source: int, target: int) -> None:
        """The target holds what the source holds; in the split layout the data moves at the next decode."""
        if source != target:
            self._lib.quick.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def length(self, sequence: int) -> int:
        return int(self._lib.quick.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def clear(self) -> None:
        self._lib.api.llama_memory_clear(self._lib.api.llama_get_memory(self._ctx), False)

    def save(self, sequence: int) -> bytes:
        api = self._lib.api
        size = int(api.llama_state_seq_get_size(self._ctx, sequence))
        buffer = (ctypes.c_uint8 * size)()
        written = int(api.llama_state_seq_get_data(self._ctx, buffer, size, sequence))
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, state: bytes) -> bool:
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(self._lib.api.llama_state_seq_set_data(self._ctx, buffer, len(state), sequence))

    def adapters(self, chosen: Sequence[tuple[int, float]]) -> None:
        count = len(chosen)
        kind = self._lib.api.llama_adapter_lora_p_ctypes
        pointers = (kind * count)(*[ctypes.cast(pointer, kind) for pointer, _ in chosen])
        scales = (ctypes.c_float * count)(*[scale for _, scale in chosen])
        if self._lib.api.llama_set_adapters_lora(self._ctx, pointers, count, scales):
            raise EngineFailed("llama.cpp refused these LoRA adapters together")

    def close(self) -> None:
        context, self._ctx = self._ctx, None
        if context:
            self._lib.api.llama_free(context)


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain of samplers is made of."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int = 64
    seed: int = 0
    grammar: str = ""

    @property
    def penalises(self) -> bool:
        return self.repeat_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0

    @property
    def plain_greedy(self) -> bool:
        """The likeliest token and nothing else: one argmax over all rows of a step does it."""
        return self.temperature == 0 and not self.grammar and not self.penalises


class Sampler:
    """A chain for one call. The grammar is asked about the chosen token first, and applied to all only if that fails."""

    def __init__(self, weights: Weights, how: Sampling) -> None:
        self._lib = library()
        self._grammar = self._chain = None
        self._candidates: NDArray[Any] | None = None
        api = self._lib.api
        if how.grammar:
            _recent_errors.clear()
            self._grammar = api.llama_sampler_init_grammar(weights._vocab, how.grammar.encode(), b"root")
            if not self._grammar:
                raise BadGrammar(f"the grammar does not parse: {_why()}", field="grammar")
            self._candidates = np.zeros(weights.vocabulary, _CANDIDATE)
        chain = self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        if how.penalises:
            api.llama_sampler_chain_add(
                chain,
                api.llama_sampler_init_penalties(
                    weights.vocabulary,
                    how.penalty_window,
                    how.repeat_penalty,
                    how.frequency_penalty,
                    how.presence_penalty,
                ),
            )
        if how.temperature == 0:
            api.llama_sampler_chain_add(chain, api.llama_sampler_init_greedy())
        else:
            if how.top_k:
                api.llama_sampler_chain_add(chain, api.llama_sampler_init_top_k(how.top_k))
            if how.top_p < 1:
                api.llama_sampler_chain_add(chain, api.llama_sampler_init_top_p(how.top_p, 1))
            if how.min_p > 0:
                api.llama_sampler_chain_add(chain, api.llama_sampler_init_min_p(how.min_p, 1))
            api.llama_sampler_chain_add(chain, api.llama_sampler_init_temp(how.temperature))
            api.llama_sampler_chain_add(chain, api.llama_sampler_init_dist(how.seed))
        self._handle = ctypes.c_void_p(ctypes.cast(chain, ctypes.c_void_p).value)

    def sample(self, context: Context, row: int, logits: Floats) -> int:
        """The next token for batch row `row`, whose scores are `logits`."""
        quick = self._lib.quick
        if self._grammar is None:
            return int(quick.llama_sampler_sample(self._handle, context._handle, row))
        token = self._choose(logits, constrained=False)
        if not self._allowed(token):
            token = self._choose(logits, constrained=True)
            if not self._allowed(token):
                raise EngineFailed("the grammar allows no token of this model here")
        quick.llama_sampler_accept(self._grammar, token)
        quick.llama_sampler_accept(self._handle, token)
        return token

    def _choose(self, logits: Floats, *, constrained: bool) -> int:
        candidates = self._candidates
        assert candidates is not None
        candidates["id"] = np.arange(len(candidates), dtype=np.int32)
        candidates["logit"] = logits
        candidates["p"] = 0
        array = _TokenDataArray(candidates.ctypes.data, len(candidates), -1, False)
        if constrained:
            self._lib.quick.llama_sampler_apply(self._grammar, ctypes.byref(array))
        self._lib.quick.llama_sampler_apply(self._handle, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise EngineFailed("no token was selected")
        return int(_TokenData.from_address(int(array.data) + array.selected * ctypes.sizeof(_TokenData)).id)

    def _allowed(self, token: int) -> bool:
        one = _TokenData(token, 1.0, 0.0)
        array = _TokenDataArray(ctypes.addressof(one), 1, -1, False)
        self._lib.quick.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(one.logit != float("-inf"))

    def close(self) -> None:
        api = self._lib.api
        chain, grammar = self._chain, self._grammar
        self._chain = self._grammar = None
        if chain:
            api.llama_sampler_free(chain)
        if grammar:
            api.llama_sampler_free(grammar)
