"""A client that resets one HTTP/2 stream and keeps its connection: the work behind that stream ends, and no other's
does.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.support.agents.until import until
from tests.support.serve.endpoint import Endpoint, Scripted, endpoint
from three_mode.serve import Tls
from transports.http2 import Pool, PoolOptions, Request

CHAT = "/v1/chat/completions"


def asking(found: Endpoint, model: str, stream: bool) -> Request:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "good day"}]}
    headers = [(b"content-type", b"application/json")]
    return Request.to("POST", found.url + CHAT, headers, json.dumps(body).encode())


@pytest.fixture(params=["h2c", "h2"])
async def reached(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Endpoint, Pool]]:
    """An endpoint and a client of HTTP/2: with prior knowledge, or over TLS."""
    tls, options = None, PoolOptions(protocol="h2", trust_env=False)
    if request.param == "h2":
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        options = PoolOptions(ssl_context=context, trust_env=False)
    async with endpoint(tls=tls) as found, Pool(options) as pool:
        yield found, pool


async def test_a_stream_that_is_reset_ends_its_work_alone(reached: tuple[Endpoint, Pool]) -> None:
    found, pool = reached
    backend: Scripted = found.backend
    other = await pool.request(asking(found, "forever", True)).start()
    assert await other.chunk()

    response = await pool.request(asking(found, "forever", True)).start()
    assert response.status == 200
    assert await response.chunk()
    assert not backend.cancelled.is_set()
    response.cancel()  # RST_STREAM, and nothing else
    await asyncio.wait_for(backend.cancelled.wait(), 5)

    assert backend.running == 1, "the other stream's work goes on"
    for _ in range(3):
        assert await other.chunk()
    reply = await pool.fetch(asking(found, "echo", False))
    assert (reply.status, b"good day" in reply.content) == (200, True)
    (statistics,) = pool.statistics().values()
    assert statistics.opened == 1, "one connection carried all of it, and still does"
    assert statistics.lost == 0
    other.cancel()
    await until(lambda: backend.running == 0)


async def test_a_whole_answer_that_nobody_waits_for_is_not_worked_out(reached: tuple[Endpoint, Pool]) -> None:
    found, pool = reached
    asked = asyncio.create_task(pool.fetch(asking(found, "forever", False)))
    await until(lambda: found.backend.running == 1)
    asked.cancel()
    await asyncio.wait_for(found.backend.cancelled.wait(), 5)
    assert (await pool.fetch(asking(found, "echo", False))).status == 200
    (statistics,) = pool.statistics().values()
    assert statistics.opened == 1
