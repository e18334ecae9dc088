"""Embedding models in GGUF: the pooling of the file, vectors that numpy computes too, and what an encoder refuses."""

import base64
import struct
from pathlib import Path

import httpx
import numpy as np
import pytest

from local_models import BadOption, LoadOptions, LocalModel, PromptTooLong
from tests.support.local_models.encoder import CLS, CONTEXT, LAST, MEAN, WIDTH, make_encoder, vector_in_numpy
from tests.support.serve.endpoint import free_port
from three_mode import LLMConnection, LLMRequest
from three_mode.errors import InvalidRequest
from three_mode.serve import App, Connected, ServeOptions, serve

TEXTS = ["red apple", "what is the blue sky", "a green tree is a tree", "pear"]


@pytest.mark.parametrize(("pooling", "isolated"), [(MEAN, False), (CLS, False), (LAST, True)])
async def test_vectors_are_pooled_as_the_file_says(pooling: int, isolated: bool, tmp_path: Path) -> None:
    path = make_encoder(tmp_path / "encoder.gguf", pooling)
    async with await LocalModel.load(path, LoadOptions(isolated=isolated, threads=1)) as model:
        vectors = await model.embed(TEXTS)
        for text, vector in zip(TEXTS, vectors, strict=True):
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            assert vector == pytest.approx(vector_in_numpy(text, pooling).tolist(), abs=4e-3)
            for other in {MEAN, CLS, LAST} - {pooling}:
                assert vector != pytest.approx(vector_in_numpy(text, other).tolist(), abs=2e-2)
        assert (await model.embed(TEXTS[::-1]))[::-1] == vectors, "the order changes nothing"
        with pytest.raises(PromptTooLong) as caught:
            await model.embed("red " * CONTEXT)
        assert (caught.value.room, "context" in caught.value.hint) == (CONTEXT, False)
        for call in (model.chat([{"role": "user", "content": "red"}]), model.complete("red")):
            with pytest.raises(BadOption, match="embeds texts: it writes no text") as refused:
                await call
            assert "`embed`" in refused.value.hint
        with pytest.raises(BadOption, match="reranks no documents"):
            await model.rerank("red", ["apple"])


async def test_a_connection_and_the_endpoint_embed_with_it(tmp_path: Path) -> None:
    path = make_encoder(tmp_path / "encoder.gguf", MEAN)
    expected = [vector_in_numpy(text, MEAN).tolist() for text in TEXTS]
    port = free_port()
    async with LLMConnection() as llm:
        embedded = await llm.embed(f"gguf:{path}", TEXTS)
        assert [list(vector) for vector in embedded.vectors] == [pytest.approx(each, abs=4e-3) for each in expected]
        with pytest.raises(InvalidRequest, match="writes no text"):
            await llm.chat_completion(LLMRequest(model=f"gguf:{path}", messages=[{"role": "user", "content": "red"}]))
        async with (
            serve(App(Connected(llm, None, {"encoder": f"gguf:{path}"}), ServeOptions(port=port))),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            body = {"model": "encoder", "input": TEXTS}
            answer = (await client.post("/v1/embeddings", json=body)).json()
            assert [each["embedding"] for each in answer["data"]] == [
                pytest.approx(each, abs=4e-3) for each in expected
            ]
            coded = (await client.post("/v1/embeddings", json=body | {"encoding_format": "base64"})).json()
            first = struct.unpack(f"<{WIDTH}f", base64.b64decode(coded["data"][0]["embedding"]))
            assert list(first) == pytest.approx(expected[0], abs=4e-3)
            chat = {"model": "encoder", "messages": [{"role": "user", "content": "red"}]}
            for asked in (chat, chat | {"stream": True}):
                refused = await client.post("/v1/chat/completions", json=asked)
                assert refused.status_code == 400
                assert "embeds texts" in refused.json()["error"]["message"]
