"""How a reranker reads a query with a document.

by its own template      the file has one named `rerank`, with {query} and {document}
as an encoder            [begin] query [end] [separator] document [end], with the marks that its tokenizer adds;
                         an end that it has not is a separator: [CLS] query [SEP] document [SEP]
"""

import re
from typing import NamedTuple

from local_models.llama.weights import Weights

_PLACES = re.compile(r"(\{query\}|\{document\})")


class PairText(NamedTuple):
    """A text of a pair, which is tokenized by itself. What a caller said is never read for control tokens."""

    text: str
    special: bool


class RerankPairs:
    """Makes the pairs of one model. `template` is that of its file; empty: none."""

    def __init__(self, weights: Weights, template: str = "") -> None:
        api, vocabulary = weights._lib.api, weights._vocab
        self._template = template if "{query}" in template and "{document}" in template else ""
        separator = int(api.llama_vocab_sep(vocabulary))
        end = weights.eos if weights.eos >= 0 else separator
        self._begin = [weights.bos] if weights.adds_bos and weights.bos >= 0 else []
        self._end = [end] if api.llama_vocab_get_add_eos(vocabulary) and end >= 0 else []
        self._between = [separator] if api.llama_vocab_get_add_sep(vocabulary) and separator >= 0 else []

    def of(self, query: str, document: str) -> list[PairText | int]:
        """The parts of a pair: texts, and tokens between them."""
        if self._template:
            said = {"{query}": PairText(query, False), "{document}": PairText(document, False)}
            return [said.get(part) or PairText(part, True) for part in _PLACES.split(self._template) if part]
        first: list[PairText | int] = [*self._begin, PairText(query, False), *self._end]
        return [*first, *self._between, PairText(document, False), *(self._end or self._between)]
