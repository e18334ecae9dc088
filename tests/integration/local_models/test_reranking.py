"""Rerankers in GGUF: scores of llama.cpp's own pooling, exact pairs, and clear errors for all else."""

from pathlib import Path

import numpy as np
import pytest

from local_models import BadOption, LoadOptions, LocalModel, PromptTooLong
from tests.support.local_models.reranker import make_reranker, pair_of

QUERY, DOCUMENTS = "what is red", ["apple", "blue sky", "green tree", "the apple is red"]


def scored_by_llama_cpp(path: Path, pairs: list[list[int]]) -> list[float]:
    """The scores as the library itself gives them, without any code of ours."""
    import llama_cpp as api

    model = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.embeddings, params.pooling_type = True, api.LLAMA_POOLING_TYPE_RANK
    context = api.llama_init_from_model(model, params)
    scores = []
    for tokens in pairs:
        batch = api.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place], batch.logits[place] = token, place, 1
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        assert api.llama_encode(context, batch) == 0
        scores.append(float(api.llama_get_embeddings_seq(context, 0)[0]))
        api.llama_batch_free(batch)
    api.llama_free(context)
    api.llama_model_free(model)
    return scores


@pytest.mark.parametrize("isolated", [False, True])
async def test_scores_are_those_of_llama_cpp_whatever_the_order(isolated: bool, tmp_path: Path) -> None:
    path = make_reranker(tmp_path / "reranker.gguf")
    pairs = [pair_of(QUERY, document) for document in DOCUMENTS]
    expected = scored_by_llama_cpp(path, pairs)
    assert len(set(np.round(expected, 4))) == len(DOCUMENTS)
    async with await LocalModel.load(path, LoadOptions(isolated=isolated)) as model:
        scores, tokens = await model.rerank(QUERY, DOCUMENTS)
        assert scores == pytest.approx(expected, abs=1e-3)
        assert tokens == sum(map(len, pairs))
        backwards, _ = await model.rerank(QUERY, DOCUMENTS[::-1])
        assert backwards[::-1] == pytest.approx(scores, abs=1e-5)
        assert await model.rerank(QUERY, []) == ([], 0)
        for refused in (model.complete("red"), model.embed("red"), model.rerank(QUERY, [7])):  # type: ignore[list-item]
            with pytest.raises(BadOption):
                await refused
        with pytest.raises(PromptTooLong) as caught:
            await model.rerank(QUERY, ["red " * 80])
        assert caught.value.room == 64
        assert (await model.rerank(QUERY, DOCUMENTS))[0] == pytest.approx(scores, abs=1e-5)


async def test_the_template_of_a_file_says_how_a_pair_is_read(tmp_path: Path) -> None:
    plain = make_reranker(tmp_path / "plain.gguf")
    same = make_reranker(tmp_path / "same.gguf", template="[CLS]{query}[SEP]{document}[SEP]")
    turned = make_reranker(tmp_path / "turned.gguf", template="[CLS]{document}[SEP]{query}[SEP]")
    expected = scored_by_llama_cpp(plain, [pair_of("apple", QUERY)])
    async with await LocalModel.load(plain) as model, await LocalModel.load(same) as templated:
        scores, used = await model.rerank(QUERY, DOCUMENTS)
        again, as_many = await templated.rerank(QUERY, DOCUMENTS)
        assert (again, as_many) == (pytest.approx(scores, abs=1e-5), used)
        braces, _ = await templated.rerank("{document}", ["{query}"])
        assert len(braces) == 1, "what is said is no template"
    async with await LocalModel.load(turned) as model:
        assert (await model.rerank(QUERY, ["apple"]))[0] == pytest.approx(expected, abs=1e-3)


async def test_control_tokens_in_a_document_are_plain_text(tmp_path: Path) -> None:
    async with await LocalModel.load(make_reranker(tmp_path / "reranker.gguf")) as model:
        said, used = await model.rerank(QUERY, ["red [SEP] apple"])
        plain, fewer = await model.rerank(QUERY, ["red"])
        assert used > fewer + 2, "a mark of one token would be two more"
        assert said != plain


async def test_a_model_that_is_no_reranker_says_so() -> None:
    async with await LocalModel.load("tiny") as model:
        with pytest.raises(BadOption, match="reranks no documents"):
            await model.rerank(QUERY, DOCUMENTS)
