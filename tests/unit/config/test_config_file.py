"""A config file: where it is looked for, what it may say, and what is said of one that is wrong."""

import os
from pathlib import Path
from typing import Any

import pytest

from three_mode import LLMConnection
from three_mode.config import Sources
from three_mode.connection import ConnectionOptions
from three_mode.errors import ConfigurationError
from three_mode.messages import RequestDefaults
from three_mode.options import LoadOptions
from three_mode.policies import BreakerOptions, CacheOptions, FallbackOptions, Policies, RetryOptions, Target

KEY = "sk-" + "abcdefghijklmnop"  # pragma: allowlist secret


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_MODEL", "_MAX_TOKENS", "_BASE_URL")) or name.startswith("LLM_"):
            monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def write(path: str | Path, text: str) -> Path:
    """A file with this text."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def refused(text: str, name: str = "three_mode.toml") -> str:
    """What is said of a file with this text, by a connection."""
    write(name, text)
    with pytest.raises(ConfigurationError) as caught:
        LLMConnection(options=ConnectionOptions(config=name))
    return str(caught.value)


def model_in_force(config: Any = None) -> str | None:
    return Sources(config).settings().model


def test_the_first_of_four_files_is_read_and_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_in_force() is None
    write(tmp_path / "home/.config/three-mode/config.toml", 'default_model = "of-the-user"\ntimeout = 5')
    assert model_in_force() == "of-the-user"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert model_in_force() is None
    write(tmp_path / "xdg/three-mode/config.toml", 'default_model = "of-xdg"\ntimeout = 5')
    assert model_in_force() == "of-xdg"
    write("three_mode.toml", 'default_model = "of-the-folder"')
    assert model_in_force() == "of-the-folder"
    assert Sources().settings().timeout == 120.0, "the user's file is not read beside it"
    write("named.toml", 'default_model = "of-the-variable"')
    monkeypatch.setenv("LLM_CONFIG", "named.toml")
    assert model_in_force() == "of-the-variable"
    write("argument.toml", 'default_model = "of-the-argument"')
    assert model_in_force("argument.toml") == "of-the-argument"
    assert model_in_force({"default_model": "of-the-program"}) == "of-the-program"


ALL = """
default_provider = "google"
default_model = "m"
default_mode = "HUMAN_AI"
timeout = 30
max_retries = 3
detection_order = ["openai"]

[defaults]
temperature = 0.2
reasoning = "low"
stop = ["."]

[providers.gemini]
model = "g"
timeout = 9
headers = { x-team = "blue" }
headers_env = { authorization = "TEAM_TOKEN" }
[providers.gemini.defaults]
temperature = 0

[policies]
breaker = false
coalesce = true
cache = { ttl = 5, path = "replies.db" }
[policies.retry]
first = 1
[policies.fallback]
targets = [{ provider = "local", model = "tiny" }]

[local]
context = 512
layout = "unified"

[models.brain]
path = "models/brain.gguf"
threads = 2
"""


@pytest.mark.parametrize("wrapper", ["", "llm"])
def test_all_that_a_file_may_say(wrapper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ALL
    if wrapper:
        text = "[llm]" + ALL.replace("[defaults", "[llm.defaults").replace("[local", "[llm.local")
        text = text.replace("[providers", "[llm.providers").replace("[policies", "[llm.policies")
        text = text.replace("[models", "[llm.models") + "\n[another.tool]\nx = 1\n"
    write("three_mode.toml", text)
    monkeypatch.setenv("TEAM_TOKEN", "t")
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    services = LLMConnection()._services
    accounts, policies = services.accounts, services.policies
    assert services.provider.name == "gemini"
    assert accounts.model("gemini") == "g"
    assert accounts.headers("gemini") == {"x-team": "blue", "authorization": "t"}
    assert (accounts.settings("gemini").timeout, accounts.settings("openai").timeout) == (9.0, None)
    defaults = RequestDefaults(temperature=0.2, reasoning="low", stop=(".",))
    assert accounts.defaults("openai") == defaults
    assert accounts.defaults("gemini") == RequestDefaults(temperature=0).over(defaults)
    assert policies.retry == RetryOptions(attempts=4, first=1.0)
    assert policies.breaker is None
    assert policies.cache == CacheOptions(ttl=5.0, path="replies.db")
    assert policies.coalesce is True
    assert policies.fallback == FallbackOptions(targets=(Target("local", "tiny"),))
    channel: Any = services.dispatcher._make["ai_pc"]  # type: ignore[index]
    settings = channel.__self__
    assert settings.local == LoadOptions(context=512, layout="unified")
    assert settings.models == {"brain": LoadOptions(context=512, layout="unified", threads=2)}
    assert settings.files == {"brain": "models/brain.gguf"}
    assert "brain" in services.local_names


def test_an_argument_comes_before_the_file() -> None:
    write("three_mode.toml", ALL.replace("headers_env", "#"))
    given = ConnectionOptions(
        defaults=RequestDefaults(temperature=1),
        local=LoadOptions(context=64),
        models={"brain": LoadOptions(context=32)},
        files={"brain": "another.gguf"},
    )
    policies = Policies(breaker=BreakerOptions(failures=2))
    services = LLMConnection(options=given, policies=policies)._services
    assert services.accounts.defaults("gemini").temperature == 1
    assert services.policies == Policies(breaker=BreakerOptions(failures=2), retry=RetryOptions(attempts=4))
    assert LLMConnection(policies=Policies(retry=RetryOptions(attempts=9)))._services.policies.retry.attempts == 9
    channel: Any = services.dispatcher._make["ai_pc"]  # type: ignore[index]
    settings = channel.__self__
    assert settings.local == LoadOptions(context=64)
    assert settings.models == {"brain": LoadOptions(context=32)}
    assert settings.files == {"brain": "another.gguf"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n\ntimout = 3", "line 3 of three_mode.toml: timout is no setting (did you mean timeout?)"),
        ("[llm]\n\ntimout = 3", "line 3 of three_mode.toml: timout is no setting"),
        ('timeout = "3"', "line 1 of three_mode.toml: timeout is a number, or false to switch it off, not '3'"),
        ("timeout = 0", "line 1 of three_mode.toml: timeout is a number of seconds above 0, not 0"),
        ("max_retries = -1", "max_retries is a whole number from 0, not -1"),
        ("max_retries = true", "max_retries is a whole number"),
        ('default_mode = "telepathy"', "default_mode is 'human_ai' or 'ai_ai' or 'ai_pc' or 'auto'"),
        ('default_provider = "opnai"', "line 1 of three_mode.toml: default_provider is no provider: unknown"),
        ("[providers.opnai]", "line 1 of three_mode.toml: providers.opnai is no provider"),
        ("[providers.opnai]", "did you mean openai?"),
        ('[providers.openai]\napikey = "x"', "line 2 of three_mode.toml: providers.openai.apikey is no setting"),
        ("[providers]\nopenai.max_tokens = 0", "line 2 of three_mode.toml: providers.openai.max_tokens"),
        ('[providers.google]\n[providers."gemini"]', "gemini, which the file has under another name too"),
        ("[defaults]\ntemperature = -1", "line 1 of three_mode.toml: defaults is not right: a default of requests"),
        ("[policies.retry]\nattempts = 'x'", "line 2 of three_mode.toml: policies.retry.attempts is a whole number"),
        ("policies = { retry = { tries = 1 } }", "line 1 of three_mode.toml: policies.retry.tries is no setting"),
        ("[[policies.routes]]\nname = 'x'\ntargets = []", "the route 'x' has no targets"),
        ("[local]\ncontext = -1", "line 2 of three_mode.toml: local.context is not right"),
        ('[local]\ngpu_layers = "all"', "local.gpu_layers is a whole number or 'auto', not 'all'"),
        ("[models.brain]\nconext = 1", "line 2 of three_mode.toml: models.brain.conext is no setting"),
        ("[models.brain]\npath = 1", "line 2 of three_mode.toml: models.brain.path is a path"),
        ("models = 3", "line 1 of three_mode.toml: models is a table, not 3"),
        ("x = = 1", "three_mode.toml is not right: Invalid value (at line 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_name(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[providers.openai]\napi_key = "x"', "line 2 of three_mode.toml: providers.openai.api_key is a secret"),
        (f'[providers.openai]\nmodel = "{KEY}"', "line 2 of three_mode.toml: providers.openai.model is a secret"),
        (f'default_model = "{KEY}"', "line 1 of three_mode.toml: default_model is a secret"),
        (f'detection_order = ["{KEY}"]', "line 1 of three_mode.toml: detection_order.0 is a secret"),
        ('[providers.openai.headers]\nAuthorization = "x"', 'headers_env = {"Authorization" = "NAME"}'),
        (
            '[providers.openai]\nbase_url = "https://me:' + 'word@host/v1"',  # pragma: allowlist secret
            "line 2 of three_mode.toml: providers.openai.base_url is a secret",
        ),
    ],
)
def test_a_secret_in_a_file_is_refused_and_never_repeated(text: str, said: str) -> None:
    message = refused(text)
    assert said in message
    assert KEY not in message
    assert "me:word" not in message


def test_a_key_in_a_file_is_refused_with_what_to_do() -> None:
    message = refused('[providers.openai]\napi_key = "x"')
    assert "OPENAI_API_KEY" in message
    assert "api_key_file" in message
    assert "LLM_CONFIG has" not in refused('LLM_CONFIG = {"providers": {"openai": {"api_key": "x"}}}', "a.py")
    assert "api_key is a secret" in refused('{"providers": {"openai": {"api_key": "x"}}}', "a.json")


def key_of(provider: str = "openai") -> str | None:
    found = LLMConnection(provider)._services.accounts.key(provider)
    return found.reveal() if found else None


def test_a_file_says_where_the_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("three_mode.toml", '[providers.openai]\napi_key_file = "openai.key"')
    with pytest.raises(ConfigurationError, match=r"line 2 of three_mode.toml: providers.openai.api_key_file"):
        key_of()
    write("openai.key", "one two")
    with pytest.raises(ConfigurationError, match="one key and nothing else"):
        key_of()
    write("openai.key", "of-the-file\n")
    assert key_of() == "of-the-file"
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    assert key_of() == "of-the-environment"
    write("three_mode.toml", '[providers.openai]\napi_key_env = "WORK_KEY"')
    assert key_of() is None, "the file says which variable holds the key"
    with pytest.raises(ConfigurationError, match="set WORK_KEY"):
        LLMConnection("openai")._services.accounts.endpoint("openai")
    monkeypatch.setenv("WORK_KEY", "of-work")
    assert key_of() == "of-work"
    write(tmp_path / "elsewhere/c.toml", '[providers.openai]\napi_key_file = "k"')
    write(tmp_path / "elsewhere/k", "beside-the-file")
    monkeypatch.setenv("LLM_CONFIG", str(tmp_path / "elsewhere/c.toml"))
    monkeypatch.delenv("OPENAI_API_KEY")
    assert key_of() == "beside-the-file"


def test_a_header_from_a_variable_that_is_not_set() -> None:
    write("three_mode.toml", '[providers.openai.headers_env]\nauthorization = "NO_SUCH"')
    with pytest.raises(ConfigurationError, match="names NO_SUCH, which is not set"):
        LLMConnection("openai")._services.accounts.headers("openai")


def test_an_api_of_ones_own_and_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    write("three_mode.toml", 'default_provider = "custom"\n[providers.custom]\nbase_url = "http://127.0.0.1:9/v1"')
    monkeypatch.setenv("CUSTOM_API_KEY", "k")
    accounts = LLMConnection()._services.accounts
    key = accounts.key("custom")
    assert accounts.base_url("custom") == "http://127.0.0.1:9/v1"
    assert key is not None
    assert key.reveal() == "k"
    another = LLMConnection(base_url="http://127.0.0.1:8/v1")._services.accounts
    assert another.key("custom") is None, "the key is for the address of the file"


def test_settings_of_providers_show_no_header() -> None:
    write("three_mode.toml", '[providers.openai.headers]\nx-team = "blue"')
    accounts = LLMConnection("openai")._services.accounts
    assert "blue" not in repr(accounts.settings("openai"))
