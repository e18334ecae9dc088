"""MRC's document: its own classes, as it defines them, beside ours; and its services over a real provider."""

import dataclasses
import inspect
import json
import logging
import os
import sys
import time
from abc import ABC
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035  # the document's code has them

import pytest

from tests.support.compat import mrc_document as document
from tests.support.compat.snippets import run_plain
from three_mode import sync
from three_mode.compat import mrc
from three_mode.config import Secret
from three_mode.errors import InvalidRequest, RateLimit
from three_mode.testing import FOREVER, Answer, Fault, ScriptedProvider, Turn, rate_limited

KEY = "test-key"  # pragma: allowlist secret
FAKE_CLAUDE = Path(__file__).resolve().parents[2] / "support" / "providers" / "fake_claude.py"
HELLO = [{"role": "user", "content": "Hello!"}]
# What the document's code imports without saying so.
PYTHON: dict[str, Any] = {
    "ABC": ABC,
    "Any": Any,
    "Callable": Callable,
    "Dict": Dict,  # noqa: UP006
    "Iterator": Iterator,
    "List": List,  # noqa: UP006
    "Optional": Optional,
    "abstractmethod": lambda function: function,
    "dataclass": dataclasses.dataclass,
    "datetime": datetime,
    "field": dataclasses.field,
    "logging": logging,
    "os": os,
    "time": time,
}


def theirs(snippet: str, **names: Any) -> Any:
    """The names that a block of the document defines."""
    return run_plain(snippet, PYTHON | names)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedProvider]:
    """OpenAI and Anthropic at one address; it lives in the loop of the calls without a loop."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no `claude` command
    server = ScriptedProvider("http/1.1")
    sync.run(server.__aenter__())
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_BASE_URL", server.url + "/v1")
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
        monkeypatch.setenv(f"{name}_MODEL", f"{name.lower()}-model")
    yield server
    sync.run(server.__aexit__(None, None, None))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No provider is available."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("OPENAI", "ANTHROPIC"):
        for variable in ("API_KEY", "BASE_URL", "MODEL", "MAX_TOKENS"):
            monkeypatch.delenv(f"{name}_{variable}", raising=False)


# The document's own definitions beside ours


def test_replies_are_dicts_as_in_the_document() -> None:
    doc = theirs(document.DATA_MODELS, UsageInfo=None)
    ours = mrc.LLMResponse("Hi", "m", "openai", mrc.UsageInfo(3, 2, 5, 0.1), 0.5, "id")
    same = doc["LLMResponse"]("Hi", "m", "openai", doc["UsageInfo"](3, 2, 5, 0.1), 0.5, "id")
    assert ours.to_legacy_format() == same.to_legacy_format()
    assert ours.usage.to_dict() == same.usage.to_dict()
    for name in ("LLMResponse", "UsageInfo"):
        fields = [[each.name for each in dataclasses.fields(kind)] for kind in (getattr(mrc, name), doc[name])]
        assert fields[0] == fields[1]


def test_the_exceptions_are_one_tree() -> None:
    doc = theirs(document.DATA_MODELS, UsageInfo=None)
    names = [name for name, kind in doc.items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(names) == 4
    assert all(issubclass(getattr(mrc, name), mrc.LLMException) for name in names)


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch, nobody: None) -> None:
    doc = theirs(document.PROVIDER_CONFIG)["ProviderConfig"]
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_MODEL", "claude-3-5-sonnet-20241022")
    monkeypatch.setenv("ANTHROPIC_MAX_TOKENS", "1000")
    ours, same = mrc.ProviderConfig.from_env("anthropic"), doc.from_env("anthropic")
    assert (ours.name, ours.api_key, ours.model) == (same.name, same.api_key, same.model)
    assert (ours.max_tokens, same.max_tokens) == (1000, "1000"), "a number, where the document has a string"
    assert ours.temperature == same.temperature
    assert KEY not in repr(ours)
    empty = mrc.ProviderConfig.from_env("openai")
    assert (empty.api_key, empty.max_tokens, empty.timeout) == (None, 4096, 60)


def test_the_example_env_is_read(nobody: None) -> None:
    Path(".env").write_text(document.EXAMPLE_ENV)
    config = mrc.ProviderConfig.from_env("openai")
    assert (config.model, config.timeout) == ("gpt-4", 60)
    assert config.api_key == "your-openai-api-key"
    assert mrc.LLMCommunication().manager.detect_available_providers() == ["anthropic", "openai"]


def test_the_constants() -> None:
    doc = theirs(document.CONFIGURATION)["Configuration"]
    for name in (name for name in vars(doc) if name.isupper()):
        assert getattr(mrc.Configuration, name) == getattr(doc, name), name


@pytest.mark.parametrize(
    ("name", "snippet", "given"),
    [
        ("LLMCommunication", document.MAIN_ENTRY, {"LLMResponse": mrc.LLMResponse}),
        ("BaseProvider", document.BASE_PROVIDER, {"LLMResponse": mrc.LLMResponse}),
        ("ProviderManager", document.PROVIDER_MANAGER, {"BaseProvider": object, "Configuration": object}),
    ],
)
def test_every_method_has_the_parameters_of_the_document(name: str, snippet: str, given: dict[str, Any]) -> None:
    doc, ours = theirs(snippet, **given)[name], getattr(mrc, name)
    methods = [method for method, value in vars(doc).items() if inspect.isfunction(value)]
    assert methods
    for method in methods:
        wanted = list(inspect.signature(getattr(doc, method)).parameters)
        found = list(inspect.signature(getattr(ours, method)).parameters)
        assert [each for each in found if each in wanted] == wanted, (method, found)


@pytest.mark.parametrize(
    ("times", "rates"),
    [((), ()), ((0.5,), (1500.0,)), ((0.5, 3.0), (1500.0,)), ((1.0,) * 20, (900.0, 1000.0)), ((1.9,), ())],
)
def test_the_performance_check_agrees_with_the_documents(times: tuple[float, ...], rates: tuple[float, ...]) -> None:
    ours, same = mrc.PerformanceMonitor(), theirs(document.PERFORMANCE)["PerformanceMonitor"]()
    for monitor in (ours, same):
        for seconds in times:
            monitor.record_request_timing(seconds, "openai")
        for rate in rates:
            monitor.record_streaming_rate(rate)
    assert ours.is_performance_compliant() == same.is_performance_compliant()
    assert ours.get_95th_percentile_response_time() == same.get_95th_percentile_response_time()


def test_keys_are_masked_and_messages_checked() -> None:
    doc = theirs(document.SECURE_CONFIG)["SecureConfig"]
    key = "sk-ant-" + "x" * 30 + "wxyz"
    assert doc.mask_api_key(key).endswith("wxyz")
    assert str(Secret(key)).endswith("wxyz')")
    assert "x" * 10 not in str(Secret(key))
    valid = theirs(document.VALIDATOR)["InputValidator"].validate_messages
    for messages in ([{"role": "robot", "content": "x"}], [{"role": "user"}], ["text"]):
        assert not valid(messages)
        with pytest.raises(InvalidRequest), mrc.LLMCommunication(model="tiny") as llm:
            llm.generate_response(messages)  # type: ignore[arg-type]


# Its services over a real provider


def test_text_response_and_stream(provider: ScriptedProvider) -> None:
    with mrc.LLMCommunication() as llm:
        assert llm.generate_text("Hello!", max_tokens=9) == "Hello world!"
        response = llm.generate_response(HELLO)
        assert (response.provider, response.model) == ("anthropic", "anthropic-model")
        assert (response.usage.to_dict()["total_tokens"], response.to_legacy_format()["content"]) == (
            15,
            "Hello world!",
        )
        assert list(llm.generate_stream(HELLO)) == ["Hello", " world", "!"]
        info = llm.get_provider_info()
        assert (info["provider"], info["available_providers"]) == ("anthropic", ["anthropic", "openai"])
        assert llm.health_check()["status"] == "healthy"
        assert llm.performance.get_95th_percentile_response_time() > 0
    assert provider.seen[0].json["max_tokens"] == 9
    assert provider.seen[1].json["max_tokens"] == 4096


def test_a_switch_of_provider(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    with mrc.LLMCommunication("anthropic") as llm:
        llm.generate_text("one")
        assert llm.switch_provider("openai")
        llm.generate_text("two")
        assert not llm.switch_provider("nobody")
        assert not llm.switch_provider("claude-cli"), "there is no such command"
        assert llm.generate_response(HELLO, provider="anthropic").provider == "anthropic"
        assert llm.manager.get_active_provider().get_model_info()["provider"] == "openai"
    paths = [seen.path for seen in provider.seen if seen.method == "POST"]
    assert paths == ["/v1/messages", "/v1/chat/completions", "/v1/messages"]


def test_the_next_provider_answers_where_the_first_fails(provider: ScriptedProvider) -> None:
    class Hears:
        def __init__(self) -> None:
            self.switches: list[tuple[str, str]] = []
            self.ends: list[str] = []

        def log_request_start(self, request_id: str, provider: str, messages: Any) -> None:
            self.ends.append("start")

        def log_response_success(self, request_id: str, response: mrc.LLMResponse) -> None:
            self.ends.append(response.provider)

        def log_error(self, request_id: str, error: Exception, context: dict[str, Any]) -> None:
            self.ends.append(type(error).__name__)

        def log_provider_switch(self, from_provider: str, to_provider: str, reason: str) -> None:
            self.switches.append((from_provider, to_provider))

    hears = Hears()
    with mrc.LLMCommunication(tracker=hears) as llm:
        llm.generate_text("which one is there?")
        provider.always(lambda seen: Answer(status=500) if "messages" in seen.path else Turn())
        response = llm.generate_response(HELLO, model=None)
        assert response.provider == "openai"
        assert hears.switches[0] == ("anthropic", "openai")
        provider.always(Answer(status=401))
        llm.switch_provider("openai")
        with pytest.raises(mrc.AuthenticationException):
            llm.generate_text("Hello!")
    assert hears.ends == ["start", "anthropic", "start", "openai", "start", "AuthenticationError"]


def test_the_tracker_of_the_document_hears_of_calls(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "three_mode.compat.mrc")
    integration = theirs(document.LOGGING, LLMResponse=mrc.LLMResponse)["MRCLoggingIntegration"]()
    with mrc.LLMCommunication(tracker=integration) as llm:
        response = llm.generate_response(HELLO)
        list(llm.generate_stream(HELLO))
        provider.always(Answer(status=401))
        with pytest.raises(mrc.LLMException):
            llm.generate_text("Hello!")
    told = [record.llm for record in caplog.records if hasattr(record, "llm")]
    assert [fields.get("action", fields.get("error_type")) for fields in told[:4]] == [
        "request_start",
        "response_success",
    ] * 2
    assert told[0]["request_id"] == told[1]["request_id"] == response.request_id
    assert (told[0]["total_chars"], told[1]["usage"]["total_tokens"]) == (6, 15)
    assert any("error_type" in fields for fields in told)
    tracker = integration.request_tracker
    assert [timing.tokens_used for timing in tracker.timings] == [15, 15]
    assert tracker.p95() == max(timing.response_time for timing in tracker.timings)


def test_the_services_of_the_document_and_ours(provider: ScriptedProvider) -> None:
    doc = theirs(document.SIMPLE_SERVICE, LLMCommunication=mrc.LLMCommunication)["SimpleLLMService"]
    factory = theirs(document.FACTORY, LLMCommunication=mrc.LLMCommunication, SimpleLLMManager=mrc.SimpleLLMManager)[
        "ServiceFactory"
    ]
    ours = mrc.ServiceFactory().create_llm_manager()
    for service in (doc(), mrc.SimpleLLMService(), factory().create_llm_manager(), ours):
        assert service.llm_call("Hello!") == "Hello world!"
        assert service.simple_llm("Hello!", model="other", max_tokens=7) == "Hello world!"
        sent = provider.seen[-1].json
        assert (sent["model"], sent["max_tokens"]) == ("other", 7)
        service.llm_comm.close()
    made = mrc.ServiceFactory().create_llm_service({"provider": "openai", "temperature": 0.1})
    made.generate_text("Hello!")
    assert provider.seen[-1].json["temperature"] == 0.1
    made.close()


def test_the_retry_handler_of_the_document_knows_our_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    given = {name: getattr(mrc, name) for name in ("RateLimitException", "NetworkException", "AuthenticationException")}
    handler = theirs(document.RETRY, **given)["RetryHandler"]()
    failures = [RateLimit("slow down"), mrc.NetworkException("gone"), None]

    def call() -> str:
        failure = failures.pop(0)
        if failure is not None:
            raise failure
        return "done"

    assert (handler.execute_with_retry(call), waits) == ("done", [1.0, 2.0])
    failures[:] = [mrc.AuthenticationException("no")]
    with pytest.raises(mrc.AuthenticationException):
        handler.execute_with_retry(call)


def test_limits_and_time_outs_have_the_names_of_the_document(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mrc.LLMCommunication("openai", timeout=0.3) as llm:
        provider.always(rate_limited(seconds=30))
        with pytest.raises(mrc.RateLimitException) as limited:
            llm.generate_text("Hello!")
        assert limited.value.retry_after == 30
    provider.always(Turn(), fault=Fault(stall_before_head=FOREVER))
    with (
        mrc.LLMCommunication("openai", timeout=0.3) as llm,
        pytest.raises(mrc.LLMException, match="in the time allowed"),
    ):
        llm.generate_text("Hello!")
    assert provider.seen[-1].cancelled
    monkeypatch.setenv("LLM_TIMEOUT", "0.4")
    with mrc.LLMCommunication("openai") as llm, pytest.raises(mrc.LLMException, match="in the time allowed"):
        llm.generate_text("Hello!")


def test_nobody_is_there(nobody: None) -> None:
    with mrc.LLMCommunication() as llm:
        with pytest.raises(mrc.ProviderUnavailableException, match="ANTHROPIC_API_KEY"):
            llm.generate_text("Hello!")
        with pytest.raises(mrc.ProviderUnavailableException):
            llm.manager.get_active_provider()
        assert llm.health_check()["status"] == "unhealthy"
        assert llm.get_provider_info()["available_providers"] == []
        with pytest.raises(mrc.AuthenticationException, match="OPENAI_API_KEY"):
            llm.generate_text("Hello!", provider="openai", model="m")


def test_a_local_model_is_reached_without_any_provider(nobody: None) -> None:
    with mrc.LLMCommunication(model="tiny", temperature=0.0, max_tokens=8) as llm:
        response = llm.generate_response(HELLO)
        assert "".join(llm.generate_stream(HELLO)) == response.content != ""
        assert response.provider == "local"
        assert response.usage.completion_tokens <= 8


def test_the_claude_command_is_found_and_answers(nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "claude"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_CLAUDE} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("FAKE_CLAUDE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_CLAUDE", "good")
    with mrc.LLMCommunication() as llm:
        assert llm.manager.detect_available_providers() == ["claude-cli"]
        assert isinstance(llm.manager.get_active_provider(), mrc.ClaudeCLIProvider)
        response = llm.generate_response(HELLO)
        assert (response.content, response.provider) == ("Hello world!", "claude-cli")
        assert response.usage.estimated_cost == 0.0125
        assert llm.switch_provider("claude-cli")
        assert "".join(llm.generate_stream(HELLO)) == "Hello world!"


def test_a_provider_of_the_programs_own(nobody: None) -> None:
    class Echo(mrc.BaseProvider):
        name = "echo"

        def is_available(self) -> bool:
            return True

        def generate_response(self, messages: Any, **kwargs: Any) -> mrc.LLMResponse:
            return mrc.LLMResponse(messages[-1]["content"], "echo", "echo", mrc.UsageInfo(1, 1, 2), 0.0, "")

        def generate_stream(self, messages: Any, **kwargs: Any) -> Iterator[str]:
            yield from messages[-1]["content"].split()

        def get_model_info(self) -> dict[str, Any]:
            return {"provider": "echo", "model": "echo"}

    with mrc.LLMCommunication() as llm:
        llm.manager.providers["echo"] = Echo()
        assert llm.switch_provider("echo")
        assert llm.generate_text("one two") == "one two"
        assert list(llm.generate_stream([{"role": "user", "content": "one two"}])) == ["one", "two"]
        assert llm.manager.get_active_provider().estimate_tokens("one two three four") > 1


def test_wrong_settings_say_what_to_do() -> None:
    with pytest.raises(mrc.LLMException, match="one of api_key, base_url"):
        mrc.LLMCommunication(temprature=0.7)
    with pytest.raises(mrc.LLMException, match="say whose"):
        mrc.LLMCommunication(api_key=KEY)
    assert KEY not in json.dumps(str(mrc.Configuration("openai", api_key=KEY)))
