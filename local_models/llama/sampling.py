"""Sampling of the next token: llama.cpp's chains of samplers, and grammars."""

import ctypes
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from local_models.errors import BadGrammar, EngineFailed
from local_models.llama.context import Context, Floats
from local_models.llama.library import last_errors, library, recent_errors
from local_models.llama.weights import Weights
from local_models.openings import Opening, OpeningWatch


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


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a chain of samplers. The fields are those of `Generate`; the defaults are greedy."""

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
    opens: Opening | None = None
    """Where the grammar begins; None: it holds from the start."""
    shown: dict[int, bytes] = {}
    """Control token -> its text, where a mark of the answer is one."""
    bias: dict[int, float] = {}
    """Token -> what is added to its score."""
    least: int = 0
    """Tokens before which no end of the answer is chosen."""

    @property
    def penalises(self) -> bool:
        """Whether any penalty is set."""
        return self.repeat_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0

    @property
    def likeliest(self) -> bool:
        """Whether the token with the highest score of the model is chosen."""
        return self.temperature == 0 and not self.penalises and not self.bias and not self.least

    @property
    def plain_greedy(self) -> bool:
        """Whether the likeliest token is always chosen: one argmax over all rows of a step is enough then."""
        return self.likeliest and not self.grammar


class Sampler:
    """Chain of samplers for one call. Only if the grammar refuses the chosen token is it applied to all tokens."""

    def __init__(self, weights: Weights, how: Sampling) -> None:
        self._lib = library()
        self._grammar = self._chain = None
        self._candidates: NDArray[Any] | None = None
        self._watch = OpeningWatch(how.opens) if how.grammar and how.opens is not None else None
        self._shown, self._weights = how.shown, weights
        self._likeliest = how.likeliest
        self._barred = how.least  # tokens for which the ends stay barred, by the first sampler of the chain
        api = self._lib.api
        if how.grammar:
            recent_errors.clear()
            self._grammar = api.llama_sampler_init_grammar(weights._vocab, how.grammar.encode(), b"root")
            if not self._grammar:
                raise BadGrammar(f"the grammar does not parse: {last_errors()}", field="grammar")
            self._candidates = np.zeros(weights.vocabulary, _CANDIDATE)
        chain = self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        if how.least:
            self._add_bias(chain, weights, dict.fromkeys(weights.ends, float("-inf")))
        if how.bias:
            self._add_bias(chain, weights, how.bias)
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

    def _add_bias(self, chain: Any, weights: Weights, bias: Mapping[int, float]) -> None:
        """Adds a sampler that adds to scores; llama.cpp copies what it is given."""
        api = self._lib.api
        values = (api.llama_logit_bias * len(bias))(*bias.items())
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_logit_bias(weights.vocabulary, len(bias), values))

    def _count_barred(self) -> None:
        """Lets the ends be chosen once the answer is long enough."""
        self._barred -= 1
        if self._barred == 0:
            api = self._lib.api
            api.llama_sampler_free(api.llama_sampler_chain_remove(self._chain, 0))

    def sample(self, context: Context, row: int, logits: Floats) -> int:
        """Returns the next token of batch row `row`, whose logits are `logits`."""
        if not self._barred:
            return self._sample(context, row, logits)
        token = self._sample(context, row, logits)
        self._count_barred()
        return token

    def _sample(self, context: Context, row: int, logits: Floats) -> int:
        quick = self._lib.quick
        if self._grammar is None:
            return int(quick.llama_sampler_sample(self._handle, context._handle, row))
        if self._watch is not None:
            return self._sample_before(context, row, logits, self._watch)
        token = self._choose(logits, constrained=False)
        if not self._allowed(token):
            token = self._choose(logits, constrained=True)
            if not self._allowed(token):
                raise EngineFailed("the grammar allows no token of this model here")
        quick.llama_sampler_accept(self._grammar, token)
        quick.llama_sampler_accept(self._handle, token)
        return token

    def _sample_before(self, context: Context, row: int, logits: Floats, watch: OpeningWatch) -> int:
        """Returns the next token while the grammar has not begun. A greedy choice is as cheap as without one."""
        if self._likeliest:
            token = int(logits.argmax())
        else:
            token = int(self._lib.quick.llama_sampler_sample(self._handle, context._handle, row))
        rest = watch.feed(self._weights.piece(token) or self._shown.get(token, b""))
        if rest is not None:
            self._watch = None
            self._begin_grammar(rest)
        return token

    def _begin_grammar(self, rest: bytes) -> None:
        """Begins the grammar with what the last token has behind the mark; lets it go where the two do not fit."""
        text = rest.decode("utf-8", "replace")
        tokens = self._weights.tokenize(text, special=False, start=False) if text else []
        whole = b"".join(map(self._weights.piece, tokens)) == rest
        for token in tokens:
            if not (whole and self._allowed(token)):
                self._lib.api.llama_sampler_free(self._grammar)
                self._grammar = None
                return
            self._lib.quick.llama_sampler_accept(self._grammar, token)

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
        """Frees the chain. May be called again."""
        api = self._lib.api
        chain, grammar = self._chain, self._grammar
        self._chain = self._grammar = None
        if chain:
            api.llama_sampler_free(chain)
        if grammar:
            api.llama_sampler_free(grammar)
