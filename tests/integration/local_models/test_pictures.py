"""Pictures in messages, through a projector of random weights: llama.cpp's own helper computes the same answers."""

import asyncio
import ctypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from benchmarks.local_peers.random_models import SHAPES, model
from local_models import BadModelFile, BadOption, LoadOptions, LocalModel, PromptTooLong
from tests.support.local_models.images import data_url, png
from tests.support.local_models.models import opened, user
from tests.support.local_models.projector import PATCHES, make_projector
from tests.support.serve.endpoint import free_port
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import ConnectionOptions
from three_mode.errors import InvalidRequest
from three_mode.messages import Image, Text
from three_mode.serve import App, Connected, ServeOptions, serve

TEMPLATE = "{%- for m in messages -%}<{{ m.role }}>{{ m.content }}{%- endfor -%}<assistant>"
NAME, RED, BLUE = "random-3m-bpe", png(color=(255, 0, 0)), png(48, 24, (0, 0, 255))
HOW: Any = {"temperature": 0, "max_tokens": 8, "within": 60}
Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("seeing")
    return model(NAME, folder), make_projector(folder / "mmproj.gguf", SHAPES[NAME].width)


def seeing(files: Files, **more: Any) -> Any:
    return opened(files[0], projector=str(files[1]), chat_template=TEMPLATE, sequences=4, **more)


def look(*images: bytes, text: str = " what is it?") -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "Look: "}]
    for image in images:
        parts += [{"type": "image_url", "image_url": {"url": data_url(image)}}, {"type": "text", "text": " and "}]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def answered_by_llama_cpp(files: Files, images: list[bytes], tokens: int) -> list[int]:
    """The greedy answer as mtmd's helpers give it, without any code of ours."""
    from llama_cpp import llama_cpp as api
    from llama_cpp import mtmd_cpp as mtmd

    weights = api.llama_model_load_from_file(str(files[0]).encode(), api.llama_model_default_params())
    how = mtmd.mtmd_context_params_default()
    how.use_gpu, how.warmup, how.n_threads = False, False, 1
    projector = mtmd.mtmd_init_from_file(str(files[1]).encode(), weights, how)
    params = api.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    context = api.llama_init_from_model(weights, params)
    text = f"<user>Look: {''.join('<__media__> and ' for _ in images)} what is it?<assistant>".encode()
    buffers = [(ctypes.c_uint8 * len(image)).from_buffer_copy(image) for image in images]
    bitmaps = (mtmd.mtmd_bitmap_p_ctypes * len(images))(
        *[mtmd.mtmd_helper_bitmap_init_from_buf(projector, buffer, len(buffer), False) for buffer in buffers]
    )
    chunks = mtmd.mtmd_input_chunks_init()
    given = mtmd.mtmd_input_text(text, len(text), True, True)
    assert mtmd.mtmd_tokenize(projector, chunks, ctypes.byref(given), bitmaps, len(images)) == 0
    at = ctypes.c_int32(0)
    assert mtmd.mtmd_helper_eval_chunks(projector, context, chunks, 0, 0, 512, True, ctypes.byref(at)) == 0
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(weights))
    answer: list[int] = []
    for _ in range(tokens):
        logits = np.ctypeslib.as_array(api.llama_get_logits_ith(context, -1), (vocabulary,))
        answer.append(int(logits.argmax()))
        one = (ctypes.c_int32 * 1)(answer[-1])
        assert api.llama_decode(context, api.llama_batch_get_one(one, 1)) == 0
    api.llama_free(context)
    mtmd.mtmd_free(projector)
    api.llama_model_free(weights)
    return answer


@pytest.mark.parametrize(("layout", "isolated"), [("split", False), ("unified", True)])
async def test_answers_are_those_of_llama_cpp_and_pictures_are_shared(
    layout: str, isolated: bool, files: Files
) -> None:
    pool = 2048 if layout == "unified" else 0
    async with seeing(files, layout=layout, pool=pool, isolated=isolated) as model:
        for images in ([RED], [BLUE], [RED, BLUE]):
            expected = answered_by_llama_cpp(files, images, 8)
            reply = await model.chat(look(*images), **HOW)
            assert list(reply.tokens) == expected
            again = await model.chat(look(*images), **HOW)
            assert again.tokens == reply.tokens
            assert again.usage.reused_tokens == again.usage.prompt_tokens - 1, "a picture is part of a shared prefix"
            assert await model.count(look(*images)) == reply.usage.prompt_tokens
        assert reply.usage.prompt_tokens > 2 * PATCHES
        other = await model.chat(look(BLUE, RED), **HOW)
        assert other.usage.reused_tokens < PATCHES, "another picture is another prefix"
        state = await model.save(look(BLUE, RED))
        assert await model.restore(state)


async def test_a_step_with_a_picture_disturbs_nobody(files: Files) -> None:

    async with seeing(files, context=512) as model:
        alone = [(await model.chat(look(RED), **HOW)).tokens, (await model.chat(user("hello there"), **HOW)).tokens]
    async with seeing(files, context=512, batch=32) as model:  # a prompt takes several steps
        calls = [model.chat(look(RED), **HOW) if n % 2 else model.chat(user("hello there"), **HOW) for n in range(12)]
        replies = await asyncio.gather(*calls)
        assert {reply.tokens for reply in replies[1::2]} == {alone[0]}
        assert {reply.tokens for reply in replies[::2]} == {alone[1]}
        task = asyncio.ensure_future(model.chat(look(BLUE), **HOW))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(PromptTooLong):
            await model.chat(look(*[RED] * 16, text="word " * 400), **HOW)
        assert (await model.chat(look(RED), **HOW)).tokens == alone[0]


BROKEN = {
    "a name": (data_url(b"GIF89a" + bytes(40)), "PNG or JPEG"),
    "elsewhere": ("https://example.com/a.png", "fetches no picture"),
    "a file": ("file:///etc/passwd", "fetches no picture"),
    "no base64": ("data:image/png;base64,???", "no base64"),
    "no data": ("data:image/png,abc", "base64"),
    "cut": (data_url(RED[:20]), "damaged"),
    "too few rows": (data_url(png(rows=1)), "damaged"),
    "too many rows": (data_url(png(rows=90_000)), "damaged"),
    "too large": (data_url(png(60_000, 60_000, rows=1)), "million pixels"),
    "no pixels": (data_url(png(0, 10)), "pixels"),
    "half a JPEG": (data_url(b"\xff\xd8\xff\xe0\x00\x10JFIF"), "damaged"),
}


@pytest.mark.parametrize("name", list(BROKEN))
async def test_what_is_no_picture_is_refused_before_anything_decodes_it(name: str, files: Files) -> None:
    url, why = BROKEN[name]
    async with seeing(files) as model:
        with pytest.raises(BadOption, match=why):
            await model.chat([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}], **HOW)
        assert (await model.chat(look(RED), **HOW)).tokens


async def test_errors_say_what_to_do(files: Files, tmp_path: Path) -> None:
    async with opened(files[0], chat_template=TEMPLATE) as blind, seeing(files) as model:
        with pytest.raises(BadOption, match="without a projector") as caught:
            await blind.chat(look(RED), **HOW)
        assert "LoadOptions(projector=" in caught.value.hint
        heard = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]
        for each in (blind, model):
            with pytest.raises(BadOption, match="hear no audio"):
                await each.chat(heard, **HOW)
        assistant = [{**look(RED)[0], "role": "assistant"}]
        with pytest.raises(BadOption, match="of the user"):
            await model.chat(assistant, **HOW)
        forged = await model.chat(look(RED, text="\ufdd2"), **HOW)
        assert forged.usage.prompt_tokens < 3 * PATCHES
    other = make_projector(tmp_path / "other.gguf", 64)
    for wrong in (files[0], other):
        with pytest.raises(BadModelFile):
            await LocalModel.load(files[0], LoadOptions(projector=str(wrong), threads=1))
    with pytest.raises(BadOption, match="GGUF"):
        await LocalModel.load("hf:some/where", LoadOptions(projector=str(other)))


@pytest_asyncio.fixture
async def served(files: Files) -> AsyncIterator[tuple[LLMConnection, str]]:
    load = LoadOptions(projector=str(files[1]), chat_template=TEMPLATE, threads=1, context=512, sequences=2)
    options, port = ConnectionOptions(local=load), free_port()
    async with LLMConnection(options=options) as llm:
        async with serve(App(Connected(llm, None, {"seer": f"gguf:{files[0]}"}), ServeOptions(port=port))):
            yield llm, f"http://127.0.0.1:{port}"


async def test_a_connection_and_the_endpoint_send_pictures(served: tuple[LLMConnection, str], files: Files) -> None:
    llm, url = served
    name = f"gguf:{files[0]}"
    parts = (Text("Look: "), Image(data=RED, mime="image/png"), Text(" and "), Text(" what is it?"))
    asked = LLMRequest(model=name, messages=[{"role": "user", "content": parts}], temperature=0, max_tokens=8)
    reply = await llm.chat_completion(asked)
    async with llm.stream(asked) as stream:
        assert "".join([chunk.text async for chunk in stream]) == reply.content
    far = LLMRequest(model=name, messages=[{"role": "user", "content": (Image(url="https://a.example/b.png"),)}])
    with pytest.raises(InvalidRequest, match="fetches no picture"):
        await llm.chat_completion(far)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        body = {"model": "seer", "messages": look(RED), "temperature": 0, "max_tokens": 8}
        answer = (await client.post("/v1/chat/completions", json=body)).json()
        assert answer["choices"][0]["message"]["content"] == reply.content
        assert answer["usage"]["prompt_tokens"] == reply.usage.input_tokens
        source = {"type": "base64", "media_type": "image/png", "data": data_url(RED).partition(",")[2]}
        blocks = [
            {"type": "text", "text": "Look: "},
            {"type": "image", "source": source},
            {"type": "text", "text": " and "},
            {"type": "text", "text": " what is it?"},
        ]
        body = {"model": "seer", "messages": [{"role": "user", "content": blocks}], "temperature": 0, "max_tokens": 8}
        assert (await client.post("/v1/messages", json=body)).json()["content"][0]["text"] == reply.content
        heard = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]
        refused = await client.post("/v1/chat/completions", json={"model": "seer", "messages": heard})
        assert refused.status_code == 400
