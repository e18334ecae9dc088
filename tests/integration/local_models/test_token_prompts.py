"""Prompts and texts given as tokens: exact, checked, and the same in a worker process."""

import pytest

from local_models import BadOption, LoadOptions, LocalModel

PROMPT = "Once upon a time there was"


@pytest.mark.parametrize("isolated", [False, True])
async def test_tokens_are_continued_and_embedded_as_they_are(isolated: bool) -> None:
    async with await LocalModel.load("tiny", LoadOptions(isolated=isolated)) as model:
        bare = await model.tokenize(PROMPT)
        marked = await model.count_prompt(PROMPT)
        said = await model.complete(bare, temperature=0, max_tokens=5)
        assert said.usage.prompt_tokens == len(bare) == await model.count_prompt(bare)
        assert (await model.complete(PROMPT, temperature=0, max_tokens=5)).usage.prompt_tokens == marked
        async with model.stream_complete(bare, temperature=0, max_tokens=5) as pieces:
            assert "".join([piece.text async for piece in pieces]) == said.text
        by_text, by_tokens = await model.embed([PROMPT, bare])
        if marked == len(bare):
            assert by_tokens == pytest.approx(by_text, abs=1e-5)
        assert sum(number * number for number in by_tokens) == pytest.approx(1.0, abs=1e-3)
        most = model.summary.vocabulary
        for wrong in ([most], [-1], [2**31 - 1], [1.5], [True], []):
            with pytest.raises(BadOption):
                await model.complete(wrong)  # type: ignore[arg-type]
            with pytest.raises(BadOption):
                await model.embed([wrong])  # type: ignore[list-item]
        assert (await model.complete(bare, temperature=0, max_tokens=5)).text == said.text
