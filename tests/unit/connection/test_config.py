"""Where settings come from, in which order, and what is said of one that is wrong."""

import asyncio
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.providers.clock import settle
from three_mode import LLMConnection, errors
from three_mode.config import Secret, Sources, masked
from three_mode.config.dotenv import read_dotenv
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import LLMRequest
from three_mode.modes import CommunicationMode
from three_mode.policies import FallbackOptions, Policies, Target
from three_mode.providers import Profile, capabilities, codec_of, describe, profile_of, providers, register
from three_mode.providers.capabilities import Capabilities
from three_mode.providers.estimate import estimate_tokens
from three_mode.testing import ScriptedProvider


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own, and no settings from outside."""
    import os

    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_MODEL", "_MAX_TOKENS", "_BASE_URL")) or name.startswith("LLM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def key_of(llm: LLMConnection, provider: str = "openai") -> str | None:
    found = llm._services.accounts.key(provider)
    return found.reveal() if found else None


def test_the_order_is_argument_environment_dotenv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"providers": {"openai": {"api_key": "from-file", "model": "model-of-file"}}, "timeout": 7}
    assert key_of(LLMConnection("openai", options=ConnectionOptions(config=config))) == "from-file"
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-dotenv\nLLM_TIMEOUT=8\n")
    assert key_of(LLMConnection("openai", options=ConnectionOptions(config=config))) == "from-dotenv"
    assert Sources(config).settings().timeout == 8
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    monkeypatch.setenv("LLM_TIMEOUT", "9")
    monkeypatch.setenv("OPENAI_MODEL", "model-of-environment")
    assert key_of(LLMConnection("openai", options=ConnectionOptions(config=config))) == "from-environment"
    assert Sources(config).settings().timeout == 9
    assert (
        LLMConnection("openai", options=ConnectionOptions(config=config))._services.accounts.model("openai")
        == "model-of-environment"
    )
    assert (
        key_of(LLMConnection("openai", api_key="from-argument", options=ConnectionOptions(config=config)))
        == "from-argument"
    )


def test_keys_have_other_names_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "g")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "d")
    llm = LLMConnection("google")
    assert (key_of(llm, "gemini"), key_of(llm, "qwen")) == ("g", "d")
    monkeypatch.setenv("GEMINI_API_KEY", "own")
    assert key_of(LLMConnection("gemini"), "gemini") == "own"


def test_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        '# a comment\n\nexport A = one\nB=\'two # no comment\'\nC="three\\n\\"x\\"" # comment\n'
        "D=four # comment\nE=\nF=a#b\nG=x=y\n"
    )
    found = read_dotenv(tmp_path / ".env")
    assert found == {
        "A": "one",
        "B": "two # no comment",
        "C": 'three\n"x"',
        "D": "four",
        "E": "",
        "F": "a#b",
        "G": "x=y",
    }
    (tmp_path / "bad").write_text("A=1\nsecret-without-a-name\n")
    with pytest.raises(errors.ConfigurationError, match="line 2") as caught:
        read_dotenv(tmp_path / "bad")
    assert "secret" not in str(caught.value)
    assert read_dotenv(tmp_path / "none") == {}


FILES = {
    "x.toml": (
        '[LLM_CONFIG]\ndefault_provider = "v98"\ndefault_model = "m"\ndefault_mode = "human_ai"\n'
        "timeout = 30\nmax_retries = 3\n"
    ),
    "x.json": (
        '{"LLM_CONFIG": {"default_provider": "v98", "default_model": "m", "default_mode": "HUMAN_AI", '
        '"timeout": 30, "max_retries": 3}}'
    ),
    "x.py": (
        "from core import CommunicationMode\nraise SystemExit('this file was run')\n"
        "LLM_CONFIG = {\n    'default_provider': 'v98', 'default_model': 'm',\n"
        "    'default_mode': CommunicationMode.HUMAN_AI,\n    'timeout': 30,\n    'max_retries': 3\n}\n"
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_text(FILES[name])
    monkeypatch.setenv("LLM_CONFIG", name)
    settings = Sources().settings()
    assert (settings.provider, settings.model, settings.timeout, settings.attempts) == ("v98", "m", 30, 4)
    assert settings.mode is CommunicationMode.HUMAN_AI
    assert LLMConnection()._services.provider.name == "v98"


@pytest.mark.parametrize(
    "config",
    [
        {"default_providr": "x"},
        {"providers": {"openai": {"apikey": "x"}}},
        {"timeout": 0},
        {"timeout": "soon"},
        {"max_retries": -1},
        {"max_retries": True},
        {"default_mode": "telepathy"},
        {"providers": []},
        {"max_tokens": 0},
    ],
)
def test_a_setting_that_is_wrong_is_an_error_that_names_it(config: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        LLMConnection("openai", options=ConnectionOptions(config=config))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", "x ="), ("a.json", "{"), ("a.py", "x = 1"), ("a.py", "LLM_CONFIG = f()"), ("a.py", "(")],
)
def test_a_file_that_is_wrong(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(errors.ConfigurationError, match=name):
        Sources(tmp_path / name)
    with pytest.raises(errors.ConfigurationError, match="cannot be read"):
        Sources(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "arguments",
    [
        {"provider": "opnai"},
        {"api_key": "x"},
        {"provider": "openai", "max_retries": -1},
        {"provider": "openai", "options": ConnectionOptions(accounts={"nobody": Account()})},
    ],
)
def test_arguments_that_are_wrong(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        LLMConnection(**arguments)


SAFETY = {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}


def test_safety_settings_that_nobody_would_heed_are_an_error() -> None:
    asked = ConnectionOptions(safety=SAFETY)
    assert LLMConnection("gemini", "k", options=asked)._services.accounts.profile("gemini").safety == SAFETY
    for provider in set(providers()) - {"gemini"}:
        with pytest.raises(errors.ConfigurationError, match="no safety settings"):
            LLMConnection(provider, "k", options=asked)
        own = ConnectionOptions(accounts={provider: Account(safety=SAFETY)})
        with pytest.raises(errors.ConfigurationError, match="no safety settings"):
            LLMConnection("gemini", "k", options=own)
    fallback = Policies(fallback=FallbackOptions(targets=(Target("openai", "m"),)))
    with pytest.raises(errors.ConfigurationError, match="openai has no safety settings"):
        LLMConnection("gemini", "k", options=asked, policies=fallback)
    with pytest.raises(errors.ConfigurationError, match="no safety settings"):
        LLMConnection(base_url="http://x.test/v1", options=asked)


def test_safety_settings_of_one_provider_among_others() -> None:
    options = ConnectionOptions(accounts={"gemini": Account(api_key="k", safety=SAFETY)})
    fallback = Policies(fallback=FallbackOptions(targets=(Target("gemini", "m"),)))
    accounts = LLMConnection("openai", "k", options=options, policies=fallback)._services.accounts
    assert (accounts.profile("gemini").safety, accounts.profile("openai").safety) == (SAFETY, {})


@pytest.mark.parametrize("name", ["gemini", "google"])
def test_what_a_connection_says_of_its_own_provider_leaves_the_rest_of_its_account(name: str) -> None:
    account = Account(api_key="k", base_url="http://x.test", headers={"a": "1", "b": "1"}, safety=SAFETY)
    options = ConnectionOptions(accounts={"gemini": account}, headers={"b": "2"})
    for llm, key in (
        (LLMConnection(name, options=options), "k"),
        (LLMConnection(name, "mine", options=options), "mine"),
    ):
        accounts = llm._services.accounts
        assert (key_of(llm, "gemini"), accounts.base_url("gemini")) == (key, "http://x.test")
        assert accounts.profile("gemini").safety == SAFETY
        assert accounts._given["gemini"].headers == {"a": "1", "b": "2"}


async def test_headers_without_a_provider_are_an_error_and_those_of_an_account_go_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(errors.ConfigurationError, match="headers=") as caught:
        LLMConnection(options=ConnectionOptions(headers={"x-team": "blue"}))
    assert "Account(headers=...)" in (caught.value.hint or "")
    monkeypatch.setenv("LLM_PROVIDER", "openai")
    llm = LLMConnection(options=ConnectionOptions(headers={"x-team": "blue"}))
    assert llm._services.accounts._given["openai"].headers == {"x-team": "blue"}
    monkeypatch.delenv("LLM_PROVIDER")
    async with ScriptedProvider("http/1.1") as server:
        account = Account(api_key="k", base_url=server.url + "/v1", headers={"x-team": "blue"})
        options = ConnectionOptions(accounts={"openai": account}, detection_order=("openai",))
        async with LLMConnection(options=options) as llm:
            await llm.ask("Hello!", model="m")
        assert server.seen[0].headers["x-team"] == "blue"


async def test_safety_settings_and_a_provider_that_is_only_known_at_the_call() -> None:
    async with LLMConnection("gemini", "k", options=ConnectionOptions(safety=SAFETY)) as llm:
        for model in ("tiny", "http://127.0.0.1:9/v1#m"):
            with pytest.raises(errors.UnsupportedParameter, match="no safety settings") as caught:
                await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "x"}], model=model))
            assert caught.value.field == "safety"


@pytest.mark.parametrize("safety", [{"HARASSMENT": "BLOCK_NONE"}, {"HARM_CATEGORY_HARASSMENT": "BLOCK_ALL"}])
def test_a_misspelt_safety_setting_is_said_before_the_first_call(safety: dict[str, str]) -> None:
    with pytest.raises(errors.ConfigurationError, match="safety= has no"):
        LLMConnection("gemini", "k", options=ConnectionOptions(safety=safety))


def test_every_safety_setting_of_the_official_client_is_one_here() -> None:
    types = pytest.importorskip("google.genai.types")
    from three_mode.providers.safety import check_settings

    for category in types.HarmCategory:
        for threshold in types.HarmBlockThreshold:
            check_settings({category.value: threshold.value})


async def test_no_key_is_an_error_that_says_where_to_put_it() -> None:
    with pytest.raises(errors.ConfigurationError, match="OPENAI_API_KEY"):
        await LLMConnection("openai").chat_completion(
            LLMRequest(messages=[{"role": "user", "content": "x"}], model="m")
        )


def test_a_base_url_that_is_none() -> None:
    for url in ("host/v1", "ftp://host", "https://" + "user:password" + "@host/v1"):
        llm = LLMConnection(base_url=url, api_key="k")
        with pytest.raises(errors.ConfigurationError) as caught:
            llm._services.accounts.endpoint("custom")
        assert "password@" not in str(caught.value)


# Which provider


async def detected(**environment: str) -> str:
    llm = LLMConnection(options=ConnectionOptions(detection_order=("anthropic", "openai", "deepseek")))
    async with llm:
        return await llm._services.provider.found()


async def test_the_only_one_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    assert await detected() == "deepseek"


async def test_none_has_a_key() -> None:
    with pytest.raises(errors.ConfigurationError, match="ANTHROPIC_API_KEY, OPENAI_API_KEY, DEEPSEEK_API_KEY"):
        await detected()


async def test_the_first_in_order_that_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with ScriptedProvider("http/1.1") as server:
            for name, url in (("ANTHROPIC", refused), ("OPENAI", server.url), ("DEEPSEEK", server.url)):
                monkeypatch.setenv(f"{name}_API_KEY", "k")
                monkeypatch.setenv(f"{name}_BASE_URL", url)
            assert await detected() == "openai"


async def test_looking_for_a_provider_takes_no_longer_than_the_call_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # no handshake ever ends there
        for name in ("ANTHROPIC", "OPENAI"):
            monkeypatch.setenv(f"{name}_API_KEY", "k")
            monkeypatch.setenv(f"{name}_BASE_URL", f"https://127.0.0.1:{silent.getsockname()[1]}")
        async with LLMConnection() as llm:
            request = LLMRequest(messages=[{"role": "user", "content": "x"}], model="m", within=0.05)
            for call in (
                llm.chat_completion(request),
                llm.stream(request).text(),
                llm.embed("m", "x", within=0.05),
            ):
                with pytest.raises(errors.DeadlineExceeded, match="no provider"):
                    await asyncio.wait_for(call, 20)
            looking, leaving = (asyncio.ensure_future(llm.ask("x", model="m")) for _ in range(2))
            await settle()
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            await llm.close()
            with pytest.raises(errors.ConfigurationError, match="closed"):
                await asyncio.wait_for(looking, 20)


# Secrets


def test_a_secret_shows_nothing() -> None:
    secret = Secret("sk-very-secret-key-0123456789")
    assert "very" not in repr(secret) + str(secret) + f"{secret}"
    assert secret.reveal() == "sk-very-secret-key-0123456789"
    assert masked("short") == "..."
    assert Secret("a").fingerprint() != Secret("b").fingerprint()
    with pytest.raises(TypeError):
        pickle.dumps(secret)


# Providers, models


def test_the_providers_that_are_known() -> None:
    wanted = {
        "openai",
        "anthropic",
        "gemini",
        "ollama",
        "deepseek",
        "qwen",
        "meta",
        "v98",
        "aicoding",
        "claude-cli",
    }
    assert wanted <= set(providers())
    assert profile_of("v98").base_url == "https://v98store.com/v1"
    assert profile_of("aicoding").base_url == "https://aicoding.io.vn/v1"
    for name in wanted - {"claude-cli"}:
        assert codec_of(profile_of(name)).profile.name == name


def test_a_provider_of_ones_own_in_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    register(Profile(name="acme-ai", base_url="https://api.acme.test/v1", default_model="rocket"))
    monkeypatch.setenv("ACME_AI_API_KEY", "k")
    llm = LLMConnection("acme-ai")
    assert key_of(llm, "acme-ai") == "k"
    assert llm._services.accounts.model("acme-ai") == "rocket"
    with pytest.raises(errors.ConfigurationError):
        register(Profile(name="Acme", base_url="https://x.test"))


def test_capabilities_go_by_the_longest_name_that_fits() -> None:
    assert capabilities("gpt-4o-mini").context == 128_000
    assert capabilities("gpt-4-0613").context == 8_192
    assert capabilities("openai/gpt-4o").vision
    assert capabilities("meta-llama/Llama-4-Scout-17B").context == 1_048_576
    assert not capabilities("o1-mini-2024").tools
    assert not capabilities("brand-new").known
    describe("brand-new", Capabilities(context=5))
    assert capabilities("brand-new-1").context == 5


def test_an_estimate_is_near_and_errs_high() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 100  # 1,001 tokens of gpt-4o
    count = estimate_tokens(LLMRequest(messages=[{"role": "user", "content": text}]), "gpt-4o")
    assert 1000 <= count <= 1500
    chinese = "快速的棕色狐狸跳过懒狗。" * 100  # 12 characters each; about 1,200 tokens
    assert 900 <= estimate_tokens(LLMRequest(messages=[{"role": "user", "content": chinese}]), "gpt-4o") <= 2000
    assert LLMConnection("aicoding", "k").estimate(
        LLMRequest(messages=[{"role": "user", "content": text}], model="claude-opus-4-5")
    ) == int(count * 1.5)


def test_a_config_file_says_that_the_others_that_are_available_are_the_fallback() -> None:
    for said, detected in (("detected", True), (False, False)):
        options = ConnectionOptions(config={"policies": {"fallback": said}})
        assert LLMConnection("openai", "k", options=options)._services.policies.fallback.detected is detected
    options = ConnectionOptions(config={"policies": {"fallback": {"detected": True}, "breaker": {"patience": 3}}})
    policies = LLMConnection("openai", "k", options=options)._services.policies
    assert policies.fallback.detected
    assert policies.breaker is not None
    assert policies.breaker.patience == 3
