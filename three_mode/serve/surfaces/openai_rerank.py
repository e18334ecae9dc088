"""Reranking, in the shape that llama-server and Jina share: `/v1/rerank`, `/rerank` and `/v1/reranking`."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from three_mode.errors import InvalidRequest, UnsupportedParameter
from three_mode.messages import Reranked, RerankRequest
from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute
from three_mode.serve.wire_in import json_object
from three_mode.serve.wire_out import encode

PATHS = ("/v1/rerank", "/rerank", "/v1/reranking")


class RerankQuestion(Struct, frozen=True):
    """What a client asked for: the request, and whether it wants the documents back."""

    request: RerankRequest
    with_documents: bool = False


class RerankSurface:
    """Reranking of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return [PathRoute("POST", path, self._intake.whole(self._answer)) for path in PATHS]

    async def _answer(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked = await self._intake.read(read_rerank, body, within)
        model = exchange.model = asked.request.model or ""
        with exchange.while_connected():
            reranked = await self._endpoint.rerank(asked.request)
        self._endpoint.metrics.used(model, reranked.usage)
        await exchange.answer(200, ranked_documents(reranked, asked))
        return model


def read_rerank(body: bytes, within: float, most_documents: int) -> RerankQuestion:
    """The body of a request; `within` is the caller's deadline."""
    data = json_object(body)
    model, query = data.pop("model", None), _text(data.pop("query", None), "query")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("the request names no model", field="model", hint="GET /v1/models lists them")
    given = data.pop("documents", None)
    if not isinstance(given, list) or not given:
        raise InvalidRequest("documents is a list of texts that is not empty", field="documents")
    if len(given) > most_documents:
        raise InvalidRequest(f"at most {most_documents} documents a request, not {len(given)}", field="documents")
    documents = [_text(each, f"documents[{index}]") for index, each in enumerate(given)]
    wanted = data.pop("return_documents", None)
    if wanted not in (None, True, False):
        raise InvalidRequest("return_documents is true or false", field="return_documents")
    request = RerankRequest(
        query=query,
        documents=documents,
        model=model,
        top_n=data.pop("top_n", None),
        within=within,
        extra={name: value for name, value in data.items() if value is not None},
    )
    return RerankQuestion(request, bool(wanted))


def ranked_documents(reranked: Reranked, asked: RerankQuestion) -> bytes:
    """The body of an answer."""
    results = []
    for each in reranked.results:
        said: dict[str, Any] = {"index": each.index, "relevance_score": each.score}
        if asked.with_documents:
            said["document"] = {"text": asked.request.documents[each.index]}
        results.append(said)
    used = {"prompt_tokens": reranked.usage.input_tokens, "total_tokens": reranked.usage.total_tokens}
    return encode({"object": "list", "model": reranked.model, "usage": used, "results": results})


def _text(given: Any, field: str) -> str:
    """A text, or an object with one."""
    if isinstance(given, Mapping):
        if given.keys() - {"text"}:
            raise UnsupportedParameter("documents and queries are texts", field=field)
        given = given.get("text")
    if not isinstance(given, str) or not given:
        raise InvalidRequest(f"{field} is a text that is not empty", field=field)
    return given
