"""Vectors of texts, and scores of documents for a query: what embedding models and rerankers compute.

A text is decoded in a context of its own, which outputs every token. It is made when it is first needed.
"""

from collections.abc import Sequence

import numpy as np

from local_models.engine.engine import Engine
from local_models.engine.from_loop import one_by_one
from local_models.engine.prompt_reader import PromptReader
from local_models.errors import BadOption, EngineFailed, PromptTooLong
from local_models.gguf import Summary
from local_models.llama import Context, ContextShape, Weights
from local_models.llama.pairs import RerankPairs
from local_models.options import LoadOptions


class TextVectors:
    """Computes vectors and scores on the engine's thread, for callers on event loops."""

    def __init__(
        self, weights: Weights, summary: Summary, options: LoadOptions, reader: PromptReader, engine: Engine
    ) -> None:
        self._weights, self._ranks, self._reader, self._engine = weights, summary.ranks, reader, engine
        self._pairs = RerankPairs(weights, summary.rerank_template)
        self._longest = min(weights.trained_context or 512, max(options.context, 2048))  # tokens of a text
        self._threads = engine.context.shape.threads
        self._context: Context | None = None

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        """Returns one vector of length 1 for each text, or its tokens."""
        if self._ranks:
            raise BadOption("this model reranks documents, and gives no embeddings", field="model")
        ids = [await self._tokens_of(text) for text in texts]
        for tokens in ids:
            self._check_length(tokens, "texts")
        return await one_by_one(self._engine, ids, self._embedding)

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Returns a score for each document, and the tokens of all pairs."""
        if not self._ranks:
            raise BadOption(
                "this model reranks no documents: its file names no pooling type RANK",
                field="model",
                hint="load a reranker, such as bge-reranker or jina-reranker in GGUF",
            )
        pairs = []
        for document in documents:
            tokens: list[int] = []
            for part in self._pairs.of(query, document):
                if isinstance(part, int):
                    tokens.append(part)
                else:
                    tokens += await self._reader.tokenize([part.text], start=False, special=part.special)
            self._check_length(tokens, "documents")
            pairs.append(tokens)
        return await one_by_one(self._engine, pairs, self._score), sum(map(len, pairs))

    async def _tokens_of(self, text: str | Sequence[int]) -> list[int]:
        if isinstance(text, str):
            return await self._reader.tokenize([text], start=True, special=False)
        self._reader.check_tokens(text, "texts")
        return list(text)

    def _check_length(self, tokens: Sequence[int], field: str) -> None:
        if not tokens:
            raise BadOption("an empty text", field=field)
        if len(tokens) > self._longest:
            trained = self._weights.trained_context
            more = f"load the model with a `context` of up to {trained}" if trained > self._longest else ""
            raise PromptTooLong(len(tokens), self._longest, more)

    # --- on the engine's thread ---

    def _embedding(self, tokens: list[int]) -> list[float]:
        vector = self._pooled(tokens).pooled(0, len(tokens) - 1)
        length = float(np.linalg.norm(vector))
        return [float(x) for x in (vector / length if length else vector)]

    def _score(self, tokens: list[int]) -> float:
        """Computes the score of a query with a document."""
        return self._pooled(tokens).score(0)

    def _pooled(self, tokens: list[int]) -> Context:
        """Decodes a text."""
        if self._context is None:
            size = -(-self._longest // 256) * 256
            self._context = Context(
                self._weights,
                ContextShape(
                    sequences=1, tokens=size, batch=size, threads=self._threads, unified=True, embeddings=True
                ),
            )
        context, count = self._context, len(tokens)
        context.clear()
        context.tokens[:count] = tokens
        context.positions[:count] = range(count)
        context.sequence[:count] = 0
        context.wanted[:count] = 1
        if context.decode(count) != 0:
            raise EngineFailed("llama.cpp could not read this text")
        return context

    def close(self) -> None:
        """Frees the context; the engine has ended."""
        context, self._context = self._context, None
        if context is not None:
            context.close()
