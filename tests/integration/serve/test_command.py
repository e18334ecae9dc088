"""`three-mode serve` as a person starts it: what it refuses, and what it says then; and a start beyond loopback that is
allowed.
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path

import httpx
import pytest
import trustme

from tests.support.serve.endpoint import free_port
from tests.support.serve.load import refused, serving

KEY = "a-key-of-the-test"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "needs an API key and TLS"),
        (("--certificate", "cert.pem"), "--certificate and --key go together"),
        (("--certificate", "no.pem", "--key", "no.pem"), "no such file: no.pem"),
        (("--model", "nosuch"), "'nosuch' is no local model"),
        (("--model", "[/no][serve]"), "'[/no][serve]' is no local model"),
        (("--bus", "nosuch"), "cannot join the bus 'nosuch'"),
        (("--port", "99999"), "a port is between 1 and 65535"),
        (("--certificate", __file__, "--key", __file__), "are no certificate with its key"),
        (("--api-key-file", "no.keys"), "no such file: no.keys"),
        (("--api-key-file", "/dev/null"), "no such file: /dev/null"),
        (("--base-url", "localhost:11434"), "--base-url is a URL such as"),
        (("--most-at-once", "0"), "--most-at-once"),
        (("--behind-proxy",), "that needs an API key"),
        (("--behind-proxy", "--host", "0.0.0.0"), "that needs an API key"),
        (("--model", "nosuch/model"), "'nosuch/model' is no local model"),
        (("--model", "tiny", "--model", "tiny"), "two models are called 'tiny'"),
        (("--model", "x=gguf:/no/such.gguf"), "no such file"),
        (("--model", "clerk=agent:clerk"), "'clerk' is an agent, and no bus is named"),
    ],
)
async def test_what_cannot_be_is_said(arguments: tuple[str, ...], said: str) -> None:
    assert said in await refused("--port", str(free_port()), *arguments)


async def test_an_advice_is_said_whole_also_where_it_has_brackets() -> None:
    """As `pip install 'three-mode[serve]'` has."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        "chat",
        "--provider",
        "no[serve]",
        "--say",
        "x",
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert "unknown provider 'no[serve]'" in said.decode()


async def test_a_file_without_keys_does_not_open_the_endpoint_to_all(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n \n")
    assert "no key is in" in await refused("--port", str(free_port()), "--api-key-file", str(tmp_path / "keys"))


async def test_an_unknown_word_is_told_with_the_usage_of_its_command() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "three_mode.cli", "serve", "--nosuch", stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert b"usage: three-mode serve" in said
    assert b"unrecognized arguments: --nosuch" in said


async def test_a_port_that_is_taken_is_not_shared() -> None:
    """Neither with a stranger, who would get our clients' keys, nor with another endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in await refused("--port", str(port))
    port = free_port()
    async with serving(port):
        assert f"cannot listen on 127.0.0.1:{port}" in await refused("--port", str(port))


async def test_beyond_loopback_with_a_key_and_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n\nanother\n")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port = free_port()
    arguments = (
        "--host",
        "0.0.0.0",
        "--api-key-file",
        str(keys),
        "--certificate",
        str(tmp_path / "cert.pem"),
    )
    async with (
        serving(port, *arguments, "--key", str(tmp_path / "key.pem")),
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context) as http,
    ):
        assert (await http.get("/v1/models")).status_code == 401
        found = await http.get("/v1/models", headers={"authorization": f"Bearer {KEY}"})
        assert "tiny" in {model["id"] for model in found.json()["data"]}
