"""`three-mode config check`: what is in force, where it comes from, and what is said of a file that is wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from three_mode.cli import main

FILE = """
default_provider = "openai"
max_retries = 4
[defaults]
temperature = 0.1
[providers.google]
model = "g"
headers_env = { authorization = "TEAM_TOKEN" }
[policies]
hedge = { after = 2 }
breaker = false
[models.brain]
path = "brain.gguf"
[serve]
port = 9000
models = ["tiny"]
access_log = "json"
api_keys_env = "KEYS"
event_buffer = 9
"""


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_MODEL", "_MAX_TOKENS", "_BASE_URL")) or name.startswith("LLM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["config", "check", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_each_setting_has_its_value_and_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("three_mode.toml").write_text(FILE)
    Path(".env").write_text("LLM_TIMEOUT=9\n")
    monkeypatch.setenv("LLM_PROVIDER", "gemini")
    monkeypatch.setenv("TEAM_TOKEN", "of-the-team")
    monkeypatch.setenv("OPENAI_API_KEY", "of-openai")
    code, out, _ = checked(capsys, "--json")
    found: dict[str, Any] = json.loads(out)
    assert (code, found["file"], found["error"]) == (0, "three_mode.toml", None)
    settings = {each["name"]: (each["value"], each["source"]) for each in found["settings"]}
    assert settings["default_provider"] == ("gemini", "environment LLM_PROVIDER")
    assert settings["timeout"] == (9.0, ".env LLM_TIMEOUT")
    assert settings["max_retries"] == (4, "three_mode.toml:3")
    assert settings["defaults.temperature"] == (0.1, "three_mode.toml:5")
    assert settings["providers.openai.api_key"] == ("(set)", "environment OPENAI_API_KEY")
    assert settings["providers.gemini.model"] == ("g", "three_mode.toml:7")
    assert settings["providers.gemini.headers.authorization"] == ("(set)", "environment TEAM_TOKEN")
    assert settings["policies.retry.attempts"] == (5, "three_mode.toml:3")
    assert settings["policies.hedge.after"] == (2.0, "three_mode.toml:10")
    assert settings["policies.breaker"] == (None, "three_mode.toml:11")
    assert settings["policies.limiter.at_once"] == (1000, "default")
    assert settings["local.context"] == (0, "default")
    assert settings["models.brain.path"] == ("brain.gguf", "three_mode.toml:13")
    assert settings["serve.port"] == (9000, "three_mode.toml:15")
    assert settings["serve.max_body"] == (8 << 20, "default")
    assert settings["serve.access_log"] == ("json", "three_mode.toml:17")
    assert settings["serve.api_keys_env"] == ("KEYS", "three_mode.toml:18")
    assert settings["serve.event_buffer"] == (9, "three_mode.toml:19")
    for name in ("behind_proxy", "any_local_model"):
        assert settings[f"serve.{name}"] == (False, "default")
    assert "of-openai" not in out
    assert "of-the-team" not in out


def test_for_people_what_is_set_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.toml").write_text('timeout = 5\ndefault_model = "a-[red]-model"\n[policies]\nbreaker = false')
    code, out, _ = checked(capsys, "--set", "--config", "c.toml")
    assert code == 0
    assert "config file: c.toml" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["timeout", "5.0", "c.toml:1"] in lines
    assert ["default_model", "a-[red]-model", "c.toml:2"] in lines
    assert ["policies.breaker", "off", "c.toml:4"] in lines
    assert not [line for line in lines if line[-1:] == ["default"]]


def test_without_a_file_it_says_where_one_is_looked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = checked(capsys)
    assert code == 0
    assert f"no config file: neither $LLM_CONFIG nor three_mode.toml, {tmp_path}/.config/three-mode/config.toml" in out
    assert json.loads(checked(capsys, "--json")[1])["file"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timout = 3", "line 1 of three_mode.toml: timout is no setting (did you mean timeout?)"),
        ("[serve]\nprt = 3", "line 2 of three_mode.toml: serve.prt is no setting (did you mean port?)"),
        ("[serve]\naccess_log = 'xml'", "line 2 of three_mode.toml: serve.access_log is 'off' or 'short' or 'json'"),
        ("[serve]\nbehind_proxy = 'yes'", "line 2 of three_mode.toml: serve.behind_proxy is true or false"),
        ("[serve]\nmodels = ['a=x', 'a=y']", "line 2 of three_mode.toml: serve.models is not right: two models are"),
        ("[serve]\napi_keys_env = 'sk-0123456789abcdef'", "line 2 of three_mode.toml: serve.api_keys_env is a secret"),
        ("[serve]\nport = 'x'", "line 2 of three_mode.toml: serve.port is a whole number"),
        ("[policies.retry]\nattempt = 1", "line 2 of three_mode.toml: policies.retry.attempt is no setting"),
        ("[local]\ncontext = -1", "line 2 of three_mode.toml: local.context is not right"),
        ("[models.x]\ncontext = -1", "line 2 of three_mode.toml: models.x.context is not right"),
        ('[providers.openai.headers_env]\na = "NO_SUCH"', "names NO_SUCH, which is not set"),
        ('[providers.openai]\napi_key_file = "none"', "line 2 of three_mode.toml: providers.openai.api_key_file"),
        ('[providers.openai]\napi_key = "x"', "line 2 of three_mode.toml: providers.openai.api_key is a secret"),
    ],
)
def test_a_file_that_is_wrong_ends_it_with_1(capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    Path("three_mode.toml").write_text(text)
    code, out, err = checked(capsys, "--json")
    assert code == 1
    assert said in json.loads(out)["error"]
    assert said in err
