"""Reranking: the request to order documents by how well they answer a query, and the reply, in every mode."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from three_mode.errors import InvalidRequest
from three_mode.messages import checks
from three_mode.messages.usage import Usage


class RerankRequest(Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A request to order documents. `LLMConnection.rerank` makes one; an agent's handler `rerank` gets one."""

    query: str  #: what the documents are to answer
    documents: tuple[str, ...]  #: the documents, as texts
    model: str | None = None  #: a model that reranks
    top_n: int | None = None  #: how many of the best are wanted; None: all
    within: float | None = None  #: deadline of the whole call in seconds
    extra: dict[str, Any] = {}  #: fields that go to the provider as they are

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            query: str,
            documents: Sequence[str],
            model: str | None = None,
            top_n: int | None = None,
            within: float | None = None,
            extra: dict[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        query: Any = self.query
        if not isinstance(query, str) or not query:
            raise InvalidRequest("query is a text that is not empty", field="query")
        given: Any = self.documents
        if not isinstance(given, list | tuple) or not given or not all(isinstance(each, str) for each in given):
            raise InvalidRequest("documents is a list of texts that is not empty", field="documents")
        force_setattr(self, "documents", tuple(given))
        checks.model(self.model)
        checks.check_number(self, "within", 0.0)
        checks.check_count(self, "top_n", 1)
        checks.check_json(self.extra, "extra")


class Ranked(Struct, frozen=True):
    """One document and its score."""

    index: int  #: place of the document in the request
    score: float  #: how well it answers; only scores of one model and one query compare


class Reranked(Struct, frozen=True, omit_defaults=True):
    """Documents, the best first; behaves as the sequence of them."""

    results: tuple[Ranked, ...]  #: the best `top_n` documents
    model: str = ""  #: the model that answered
    usage: Usage = Usage()  #: tokens used, and their cost
    provider: str = ""  #: the provider that answered

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Ranked:
        return self.results[index]


def best_first(scored: Iterable[Ranked], request: RerankRequest) -> tuple[Ranked, ...]:
    """The documents that a request wants, in order. ValueError for one that it does not have, or has twice."""
    ordered = sorted(scored, key=lambda each: (-each.score, each.index))
    places = {each.index for each in ordered}
    if len(places) != len(ordered) or not places.issubset(range(len(request.documents))):
        raise ValueError("a document that was not asked about, or one that came twice")
    if len(ordered) < min(request.top_n or len(request.documents), len(request.documents)):
        raise ValueError(f"{len(ordered)} documents came of {len(request.documents)}")
    return tuple(ordered[: request.top_n])
