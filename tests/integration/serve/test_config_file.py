"""`three-mode serve` with a config file: its models under their names, its limits, and the command line before it."""

from pathlib import Path

import httpx
import pytest

from local_models.files.catalogue import TINY
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import refused, serving

FILE = """
[defaults]
max_tokens = 1
temperature = 0

[models.brain]
path = "m.gguf"
context = 512

[serve]
port = 1
max_messages = 2
api_key_file = "keys"
models = ["brain", "small=gguf:{tiny}"]
"""


def write(folder: Path, text: str = FILE) -> str:
    (folder / "m.gguf").write_bytes(TINY.read_bytes())
    (folder / "keys").write_text("a-key\n")
    (folder / "c.toml").write_text(text.replace("{tiny}", str(TINY)))
    return str(folder / "c.toml")


def asking(model: str, messages: int = 1) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "What is 21 + 34?"}] * messages}


async def test_models_limits_and_keys_of_a_file(tmp_path: Path) -> None:
    port = free_port()
    async with (
        serving(port, "--config", write(tmp_path)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=30) as http,
    ):
        assert (await http.get("/models")).status_code == 401
        http.headers["authorization"] = "Bearer a-key"
        listed = {model["id"] for model in (await http.get("/models")).json()["data"]}
        assert listed == {"brain", "small"}, "where models are named there are no others"
        for model in ("brain", "small"):
            reply = (await http.post("/chat/completions", json=asking(model))).json()
            assert reply["usage"]["completion_tokens"] == 1, reply
        refused_one = await http.post("/chat/completions", json=asking("brain", 3))
        assert refused_one.json()["error"]["message"].startswith("at most 2 messages a request")
        for model in ("gguf:" + str(TINY), str(tmp_path / "m.gguf"), str(tmp_path / "none.gguf")):
            assert (await http.post("/chat/completions", json=asking(model))).status_code == 403, model
        for model in ("tiny", str(tmp_path / "c.toml"), "anything"):
            assert (await http.post("/chat/completions", json=asking(model))).status_code == 404, model


async def test_the_command_line_comes_before_the_file(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "others").write_text("another-key\n")
    arguments = ("--model", "tiny", "--api-key-file", str(tmp_path / "others"))
    async with (
        serving(port, "--config", write(tmp_path, FILE.replace("m.gguf", "none.gguf")), *arguments),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=30) as http,
    ):
        assert (await http.get("/models", headers={"authorization": "Bearer a-key"})).status_code == 401
        assert (await http.get("/models", headers={"authorization": "Bearer another-key"})).status_code == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serve]\nprt = 1", "line 2 of c.toml: serve.prt is no setting (did you mean port?)"),
        ("timeout = 'x'", "line 1 of c.toml: timeout is a number"),
        ('[serve]\nmodels = ["none"]', "'none' is no local model"),
        ('[serve]\nmodels = ["x=agent:x"]', "'x' is an agent, and no bus is named"),
        ('[serve]\nmodels = ["=x"]', "'=x' names no model"),
        ('[serve]\nmodels = ["tiny", "tiny=gguf:x"]', "two models are called 'tiny'"),
        ('[models.b]\npath = "none.gguf"\n[serve]\nmodels = ["b"]', "no such file"),
        ('[serve]\ncertificate = "none.pem"', "--certificate and --key go together"),
        ('[serve]\napi_key_file = "none"', "no such file"),
        ('[serve]\nhost = "0.0.0.0"', "needs an API key and TLS"),
        ('[serve]\nhost = "0.0.0.0"\nbehind_proxy = true', "behind a proxy can be reached from elsewhere"),
        ("[serve]\nbehind_proxy = true", "that needs an API key"),
        ("[serve]\nbehind_proxy = 1", "line 2 of c.toml: serve.behind_proxy is true or false"),
        ('[serve]\naccess_log = "xml"', "line 2 of c.toml: serve.access_log is 'off' or 'short' or 'json'"),
        ('[serve]\napi_keys_env = "NO_SUCH_VARIABLE"', "names NO_SUCH_VARIABLE, which holds no key"),
        ('[serve]\napi_keys = "k"', "serve.api_keys is no setting"),
        ('[serve]\napi_keys_env = "sk-0123456789abcdef"', "is a secret"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(text)
    assert said in await refused("--port", str(free_port()), "--config", "c.toml")


async def test_a_named_provider_model_without_a_key_is_said_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    words = ("--provider", "openai", "--model", "fast=gpt-5-mini")
    assert "no key for openai" in await refused("--port", str(free_port()), *words)


ROUTED = """
default_model = "either"

[models.brain]
path = "m.gguf"

[[policies.routes]]
name = "either"
targets = [{provider = "local", model = "tiny"}]

[serve]
models = ["quick=tiny"]
api_keys_env = "KEYS_OF_THE_TEST"
behind_proxy = true
host = "0.0.0.0"
"""


async def test_what_the_file_names_may_be_asked_beside_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy, with keys of the environment: without TLS of its own."""
    monkeypatch.setenv("KEYS_OF_THE_TEST", "one-key,another-key")
    port = free_port()
    async with (
        serving(port, "--config", write(tmp_path, ROUTED)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=30) as http,
    ):
        assert (await http.get("/models", headers={"host": "localhost"})).status_code == 401
        http.headers["authorization"] = "Bearer another-key"
        assert [model["id"] for model in (await http.get("/models")).json()["data"]] == ["brain", "either", "quick"]
        for model in ("brain", "either", "quick"):
            assert (await http.post("/chat/completions", json=asking(model) | {"max_tokens": 1})).status_code == 200
        assert (await http.post("/chat/completions", json=asking("tiny"))).status_code == 404
