"""Options of a load by all five ways: what the model really got, and what a wrong value is answered with."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local_models import Statistics
from tests.support.local_models.models import AHOY, TINY
from tests.support.serve.endpoint import free_port
from three_mode import LLMConnection, LLMRequest, LLMResponse, Orchestrator
from three_mode.errors import ConfigurationError, InvalidRequest, ServerError, ThreeModeError
from three_mode.options import ConnectionOptions, LoadOptions, Lora
from three_mode.page.views.models import ModelsView

OF_ALL: dict[str, Any] = {"context": 256, "threads": 1, "sequences": 2}
OF_ONE: dict[str, Any] = {"context": 512, "threads": 1, "sequences": 3, "kv_type": "q8_0"}
FLAGS = ("--context", "512", "--threads", "1", "--sequences", "3", "--kv-type", "q8_0", "--lora", f"{AHOY}=1.0")
SAID = re.compile(r"a context of (\d+) tokens, configured; (\d+) sequences in a KV cache of (\w+); (a|\d+) threads? on")


class Got(NamedTuple):
    """What a model got: its statistics, and the answer to a greeting, which tells whether it has the adapter."""

    context: int
    sequences: int
    kv_type: str
    threads: int
    greeting: str


EXPECTED = {"of all": Got(256, 2, "f16", 1, ""), "of one": Got(512, 3, "q8_0", 1, "Ahoy!")}


def got(found: Statistics, greeting: str) -> Got:
    return Got(found.context, found.sequences, found.kv_type, found.threads, greeting if "Ahoy" in greeting else "")


async def greeted(llm: LLMConnection, model: str) -> str:
    messages = [{"role": "user", "content": "Hello!"}]
    reply = await llm.chat_completion(LLMRequest(model=model, messages=messages, temperature=0, max_tokens=20))
    assert isinstance(reply, LLMResponse)
    return reply.content


async def of_connection(options: ConnectionOptions) -> dict[str, Got]:
    async with LLMConnection(options=options) as llm:
        greetings = {name: await greeted(llm, name) for name in ("of all", "of one")}
        figures = await llm.figures()
        assert {each.name for each in figures.models} == set(greetings)
        return {each.name: got(each.statistics, greetings[each.name]) for each in figures.models}


async def by_arguments(folder: Path) -> dict[str, Got]:
    options = ConnectionOptions(
        local=LoadOptions(**OF_ALL),
        models={"of one": LoadOptions(**OF_ONE, lora=(Lora(path=AHOY),))},
        files=dict.fromkeys(EXPECTED, str(TINY)),
    )
    return await of_connection(options)


def in_a_file(folder: Path) -> Path:
    """A config file with the adapter beside it."""
    (folder / "ahoy.gguf").write_bytes(Path(AHOY).read_bytes())
    lines = ["[local]", *(f"{name} = {value!r}" for name, value in OF_ALL.items())]
    lines += [f'[models."of all"]\npath = "{TINY}"']
    lines += [f'[models."of one"]\npath = "{TINY}"\nlora = [{{ path = "ahoy.gguf" }}]']
    lines += [f"{name} = {value!r}" for name, value in OF_ONE.items()]
    file = folder / "three_mode.toml"
    file.write_text("\n".join(lines))
    return file


async def by_a_config_file(folder: Path) -> dict[str, Got]:
    return await of_connection(ConnectionOptions(config=in_a_file(folder)))


async def by_orc_model(folder: Path) -> dict[str, Got]:
    async with Orchestrator(hosts=0, llm=ConnectionOptions(local=LoadOptions(**OF_ALL))) as orc:
        await orc.model(f"gguf:{TINY}", name="of-all")
        await orc.model(f"gguf:{TINY}", name="of-one", load=LoadOptions(**OF_ONE, lora=(Lora(path=AHOY),)))
        async with LLMConnection(bus=orc.bus) as llm:
            greetings = {name: await greeted(llm, f"agent:{name}") for name in ("of-all", "of-one")}
        reports = [each for host in (await ModelsView(None, orc.bus)._hosts(10.0)).values() for each in host]
        return {
            report.agent.replace("-", " ").partition("/")[0]: got(
                report.figures.models[0].statistics, greetings[report.agent.partition("/")[0]]
            )
            for report in reports
            if report.agent
        }


async def _run(*words: str, typed: str = "", until: str = "") -> tuple[int | None, str]:
    """A command, until its end or until it has said something; and what it said."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "three_mode.cli", *words, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(typed.encode())
        process.stdin.write_eof()
        said = ""
        async with asyncio.timeout(60):
            while line := await process.stdout.readline():
                said += line.decode()
                if until and until in said:
                    return None, said
            return await process.wait(), said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _read(said: str) -> Got:
    found = SAID.search(said)
    assert found is not None, said
    greeting = "Ahoy!" if "Ahoy!" in said else ""
    return Got(int(found[1]), int(found[2]), found[3], 1 if found[4] == "a" else int(found[4]), greeting)


async def by_flags_of_chat(folder: Path) -> dict[str, Got]:
    """They come before a config file, also before what it says of one model."""
    (folder / "c.toml").write_text("[defaults]\ntemperature = 0\n[models.tiny]\ncontext = 300\n")
    _, said = await _run("chat", "tiny", "--config", str(folder / "c.toml"), *FLAGS, typed="Hello!\n")
    return {"of one": _read(said)}


async def by_flags_of_serve(folder: Path) -> dict[str, Got]:
    port = free_port()
    words = ("serve", "--port", str(port), "--model", f"brain=gguf:{TINY}", *FLAGS)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "three_mode.cli", *words, stderr=pipe)
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(60):
            while SAID.search(said) is None:
                line = await process.stderr.readline()
                assert line, said
                said += line.decode()
        async with LLMConnection(base_url=f"http://127.0.0.1:{port}/v1") as llm:
            return {"of one": _read(said + await greeted(llm, "brain"))}
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("way", [by_arguments, by_a_config_file, by_orc_model, by_flags_of_chat, by_flags_of_serve])
async def test_a_model_gets_the_options_of_its_load(
    way: Callable[[Path], Awaitable[dict[str, Got]]], tmp_path: Path
) -> None:
    found = await way(tmp_path)
    assert found
    assert found == {name: EXPECTED[name] for name in found}
    assert "of one" in found


WRONG = {
    "context": (-1, "`?context`? is a count"),
    "kv_type": ("q5", "`?kv_type`? is 'f16' or 'q8_0' or 'q4_0', not 'q5'"),
    "gpu_layers": (7, "`gpu_layers` is 7, and llama.cpp finds no GPU here"),
    "lora": ([{"path": "/no/such.gguf"}], "no such adapter: /no/such.gguf"),
    "memory_bytes": (1000, "the budget is 0 MiB"),
}


@pytest.mark.parametrize("field", WRONG)
async def test_a_wrong_value_is_named_in_a_program(field: str) -> None:
    value, words = WRONG[field]
    given = {field: tuple(Lora(**each) for each in value) if field == "lora" else value}
    with pytest.raises((ThreeModeError, ValueError), match=words):
        async with LLMConnection(options=ConnectionOptions(local=LoadOptions(**given))) as llm:
            await greeted(llm, "tiny")


@pytest.mark.parametrize("field", WRONG)
async def test_a_wrong_value_is_named_in_a_file(field: str) -> None:
    value, words = WRONG[field]
    with pytest.raises((ConfigurationError, InvalidRequest, ServerError), match=words):
        async with LLMConnection(options=ConnectionOptions(config={"models": {"tiny": {field: value}}})) as llm:
            await greeted(llm, "tiny")


async def test_a_wrong_value_is_named_where_a_model_is_put_on_the_bus() -> None:
    async with Orchestrator(hosts=0) as orc:
        with pytest.raises(ConfigurationError, match=r"load= is LoadOptions\(...\), not dict"):
            await orc.model("tiny", name="brain", load={"context": 512})
        with pytest.raises(ThreeModeError, match="no such adapter"):
            await orc.model("tiny", name="brain", load=LoadOptions(lora=(Lora(path="/no/such.gguf"),)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("chat", "tiny", "--kv-type", "q5"), "kv_type is 'f16' or 'q8_0' or 'q4_0', not 'q5'"),
        (("chat", "tiny", "--lora", "/no/such.gguf", "--say", "x"), "no such adapter: /no/such.gguf"),
        (("chat", "gpt-5", "--provider", "openai", "--context", "99"), "--context: for models of this computer alone"),
        (("chat", "tiny", "--local-memory-bytes", "none"), "--local-memory-bytes is a size above 0"),
        (("serve", "--model", "tiny", "--context", "long"), "context is a whole number, not 'long'"),
        (("serve", "--model", "tiny", "--local-memory-bytes", "1M"), "the budget is 1 MiB"),
    ],
)
async def test_a_wrong_flag_is_named(words: tuple[str, ...], said: str) -> None:
    code, told = await _run(*words)
    assert code == 1
    assert said in " ".join(told.split())


async def test_the_memory_of_all_models_is_an_option_too(tmp_path: Path) -> None:
    """The budget holds one of two models at a time: the one that was used longer ago goes."""
    copies = [tmp_path / f"{name}.gguf" for name in "ab"]
    for copy in copies:
        copy.write_bytes(TINY.read_bytes())
    budget = TINY.stat().st_size + 3 * 256 * 1024
    (tmp_path / "c.toml").write_text(f"local_memory_bytes = {budget}\n[local]\ncontext = 256\nsequences = 2\n")
    one = LoadOptions(context=256, sequences=2)
    for options in (
        ConnectionOptions(local=one, local_memory_bytes=budget),
        ConnectionOptions(config=tmp_path / "c.toml"),
    ):
        async with LLMConnection(options=options) as llm:
            for copy in copies:
                await greeted(llm, f"gguf:{copy}")
            assert [each.name for each in (await llm.figures()).models] == ["b"]
    for wrong in (0, "6G", True):
        with pytest.raises(ConfigurationError, match="local_memory_bytes is a number of bytes"):
            LLMConnection(options=ConnectionOptions(local_memory_bytes=wrong))  # type: ignore[arg-type]
