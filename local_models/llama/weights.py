"""Weights: a model that llama.cpp has loaded, with its vocabulary and adapters."""

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress, repeat

import msgspec

from local_models.errors import BadModelFile, BadOption, ModelClosed, translate_errors
from local_models.llama.library import amx_is_sound, last_errors, library, recent_errors
from local_models.options import GpuSplit


class SpecialTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a vocabulary that are not text."""

    vocabulary: int  #: number of all tokens
    ends: tuple[int, ...]  #: those that end an answer
    control: tuple[int, ...]

    def fit(self, vocabulary: int) -> bool:
        """Whether they can be those of a vocabulary of that size."""
        return vocabulary == self.vocabulary and all(0 <= t < vocabulary for t in (*self.ends, *self.control))


def _parts(shares: Sequence[float], devices: int) -> "ctypes.Array[ctypes.c_float]":
    """Returns the shares of the GPUs as llama.cpp takes them: one number for each device that there could be."""
    if len(shares) > devices:
        raise BadOption(
            f"`gpu_shares` has {len(shares)} numbers, and this llama.cpp knows {devices} devices at most",
            field="gpu_shares",
        )
    return (ctypes.c_float * devices)(*shares)


class Weights:
    """Weights and vocabulary of a loaded model, shared by all its contexts. `gpu_layers` of -1 means all.

    `split` and `shares` are `gpu_split` and `gpu_shares` of the options.
    `special` are the special tokens, where they are known from before: to find them takes as long as to map the file.
    Threads other than the engine's read the vocabulary inside `in_use`; `close` waits for them.
    """

    def __init__(
        self,
        path: str,
        *,
        gpu_layers: int,
        mmap: bool,
        special: SpecialTokens | None = None,
        split: GpuSplit = "layer",
        shares: Sequence[float] = (),
    ) -> None:
        self._lib = library()
        self._users = 0
        self._closing = False
        self._unused = threading.Condition()
        self.gpu_layers = gpu_layers
        api = self._lib.api
        params = api.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.split_mode = getattr(api, f"LLAMA_SPLIT_MODE_{split.upper()}")
        parts = _parts(shares, int(api.llama_max_devices()))  # llama.cpp reads it until the model is loaded
        if shares:
            params.tensor_split = parts
        params.use_extra_bufts = amx_is_sound()  # weights in AMX tiles are such
        if not mmap and hasattr(api, "LLAMA_LOAD_MODE_NONE"):
            params.load_mode = api.LLAMA_LOAD_MODE_NONE
        recent_errors.clear()
        with translate_errors(f"load {path}"):
            self._model = api.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise BadModelFile(f"llama.cpp does not load this model: {last_errors()}", path=str(path))
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
        self.recurrent = bool(api.llama_model_is_recurrent(self._model) or api.llama_model_is_hybrid(self._model))
        self.sliding_window = int(api.llama_model_n_swa(self._model))
        self.causal = bool(api.llama_model_has_decoder(self._model)) and not bool(
            api.llama_model_has_encoder(self._model)
        )
        self.special = special if special is not None and special.fit(self.vocabulary) else self._find_special()
        self.ends = frozenset(self.special.ends)
        self.control = self.special.control
        self._pieces: list[bytes | None] = [None] * self.vocabulary

    def _find_special(self) -> SpecialTokens:
        """Asks for each token, without bytecode for each of a hundred thousand."""
        api, vocab = self._lib.api, ctypes.c_void_p(ctypes.cast(self._vocab, ctypes.c_void_p).value)
        is_end, attributes = self._lib.quick.llama_vocab_is_eog, self._lib.quick.llama_vocab_get_attr
        tokens, unknown_or_control = range(self.vocabulary), api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_UNKNOWN
        kinds = map(attributes, repeat(vocab), tokens)
        return SpecialTokens(
            vocabulary=self.vocabulary,
            ends=tuple(compress(tokens, map(is_end, repeat(vocab), tokens))),
            control=tuple(token for token, kind in enumerate(kinds) if kind & unknown_or_control),
        )

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps the weights in memory for the block; raises `ModelClosed` if they are freed or about to be."""
        with self._unused:
            if self._closing:
                raise ModelClosed("the model is closed", hint="load it again")
            self._users += 1
        try:
            yield
        finally:
            with self._unused:
                self._users -= 1
                if not self._users:
                    self._unused.notify_all()

    def goes_beyond(self, tokens: int) -> bool:
        """Whether so many tokens of a sequence are more than the model was first trained for: some models then compute
        positions in another way."""
        name = f"{self._value('general.architecture')}.rope.scaling.original_context_length"
        first = self._value(name)
        return first.isdigit() and tokens > int(first)

    def _value(self, name: str) -> str:
        """A short value of the file's metadata as text; "" where there is none."""
        buffer = ctypes.create_string_buffer(256)
        length = int(self._lib.api.llama_model_meta_val_str(self._model, name.encode(), buffer, len(buffer)))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else ""

    def text_of(self, token: int) -> str:
        """Returns a token as the vocabulary spells it, for control tokens, which have no piece."""
        return str(self._lib.api.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def piece(self, token: int) -> bytes:
        """Returns the bytes that a token adds to a text, cached per token. Control tokens add none."""
        piece_bytes = self._pieces[token]
        if piece_bytes is None:
            size = 64
            while True:
                buffer = ctypes.create_string_buffer(size)
                length = self._lib.quick.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
                if length >= 0:
                    break
                size = -length
            piece_bytes = buffer.raw[:length]
            self._pieces[token] = piece_bytes
        return piece_bytes

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        """Returns the tokens of a text. `special` turns texts of control tokens into them: never for text of a user."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        with self.in_use():
            while True:
                buffer = (ctypes.c_int32 * room)()
                count = self._lib.api.llama_tokenize(self._vocab, raw, len(raw), buffer, room, start, special)
                if count >= 0:
                    return list(buffer[:count])
                room = -count

    def adapter(self, path: str) -> int:
        """Loads a LoRA adapter and returns its pointer; it lives as long as the weights."""
        if not os.path.isfile(path):
            raise BadOption(f"no such adapter: {path}", field="lora")
        recent_errors.clear()
        found = self._lib.api.llama_adapter_lora_init(self._model, str(path).encode())
        if not found:
            raise BadModelFile(f"this LoRA adapter does not fit the model: {last_errors()}", path=str(path))
        return int(ctypes.cast(found, ctypes.c_void_p).value or 0)

    def close(self) -> None:
        """Waits for all users of the vocabulary, then frees the weights. Contexts and samplers are closed before."""
        with self._unused:
            self._closing = True
            self._unused.wait_for(lambda: not self._users)
            model, self._model = self._model, None
        if model:
            self._lib.api.llama_model_free(model)
