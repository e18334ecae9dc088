"""Responses to httpx and httpx2 over our transports: each check runs over the library's own transport too.

What is compared is listed in `tests/support/http2/side_by_side.py`.
"""

import asyncio
from typing import Any

import pytest

from tests.support.http2.peers import free_port
from tests.support.http2.side_by_side import WAYS, Checks, Side, Way, outcome, seen, seen_head

CHECKS = Checks()


# --- encodings ---

for encoding in ("identity", "gzip", "deflate", "twice", "zstd", "br", "broken"):
    CHECKS.add_get(f"the encoding {encoding}", f"/packed/{encoding}")


@CHECKS.add
async def what_is_raw_stays_packed(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/packed/gzip") as response:
        raw = b"".join([data async for data in response.aiter_raw()])
        return raw, response.num_bytes_downloaded, response.is_stream_consumed


CHECKS.add_get("accept-encoding of the caller", "/echo", headers={"accept-encoding": "identity"})


# --- ranges, large bodies, streams ---

for span in ("0-99", "500-", "-100", "9999-20000", "20000-"):
    CHECKS.add_get(f"the range {span}", "/ranged", headers={"range": f"bytes={span}"})
CHECKS.add_get("if-none-match", "/ranged", headers={"if-none-match": '"v1"'})
CHECKS.add_get("an empty body", "/large/0")
CHECKS.add_get("a large body with a length", "/large/20000000")
CHECKS.add_get("a large body without a length", "/stream/400x40000")
CHECKS.add_get("many small pieces", "/stream/2000x3")


@CHECKS.add
async def a_stream_in_chunks_of_a_size(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/large/1000192") as response:
        return [len(data) async for data in response.aiter_bytes(100_000)]


@CHECKS.add
async def a_stream_in_lines(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/lines") as response:
        return [line async for line in response.aiter_lines()]


@CHECKS.add
async def a_stream_in_text(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/odd") as response:
        return "".join([text async for text in response.aiter_text()])


@CHECKS.add
async def a_stream_that_is_left(side: Side) -> Any:
    results = []
    for _ in range(3):
        async with side.client.stream("GET", side.url + "/stream/500x10000") as response:
            async for data in response.aiter_bytes(1_000):
                results.append((seen_head(response), len(data)))
                break
        results.append((response.is_closed, response.is_stream_consumed))
    return results, await side.get("/echo")


@CHECKS.add
async def a_stream_that_is_read_twice(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/stream/3x10") as response:
        first = [data async for data in response.aiter_raw()]
        side.notes.append(len(b"".join(first)))
        return [data async for data in response.aiter_raw()]


@CHECKS.add
async def a_stream_that_is_read_after_its_end(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/stream/3x10") as response:
        pass
    return await response.aread()


@CHECKS.add
async def content_before_it_is_read(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/stream/3x10") as response:
        with pytest.raises(side.library.ResponseNotRead):
            response.content  # noqa: B018
        return (await response.aread()), response.text


@CHECKS.add
async def send_with_stream(side: Side) -> Any:
    request = side.client.build_request("GET", side.url + "/stream/3x10")
    response = await side.client.send(request, stream=True)
    body = await response.aread()
    await response.aclose()
    return seen_head(response), body


# --- time limits, concurrency, the client's own doing ---


@CHECKS.add
async def a_read_timeout_before_the_head(side: Side) -> Any:
    return await side.get("/slow/5", timeout=side.library.Timeout(5, read=0.1))


@CHECKS.add
async def a_read_timeout_in_the_body(side: Side) -> Any:
    return await side.get("/drip/5", timeout=side.library.Timeout(5, read=0.2))


@CHECKS.add
async def a_slow_answer_within_its_time(side: Side) -> Any:
    return await side.get("/slow/0.1", timeout=side.library.Timeout(5, read=2))


@CHECKS.add
async def no_time_limit(side: Side) -> Any:
    return await side.get("/slow/0.05", timeout=None)


@CHECKS.add
async def cancelling_a_call(side: Side) -> Any:
    task = asyncio.create_task(side.get("/slow/5"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return await side.get("/echo")


@CHECKS.add
async def many_calls_at_once(side: Side) -> Any:
    return await asyncio.gather(*(side.get(f"/echo/{number}") for number in range(30)))


@CHECKS.add
async def one_call_after_the_other(side: Side) -> Any:
    return [await side.get(f"/echo/{number}") for number in range(10)]


@CHECKS.add
async def a_request_that_is_sent_twice(side: Side) -> Any:
    request = side.client.build_request("POST", side.url + "/echo", json={"a": 1})
    return [seen(await side.client.send(request)) for _ in range(2)]


@CHECKS.add
async def a_base_url_and_defaults(side: Side) -> Any:
    side.client.base_url = side.url + "/echo/v1/"
    side.client.headers["x-default"] = "yes"
    side.client.params = {"key": "value"}
    return [seen(await side.client.get("models")), seen(await side.client.get("/models", params={"a": "b"}))]


@CHECKS.add
async def a_closed_client(side: Side) -> Any:
    await side.client.aclose()
    with pytest.raises(RuntimeError) as caught:
        await side.get("/echo")
    return str(caught.value)


@CHECKS.add
async def a_port_where_nobody_listens(side: Side) -> Any:
    return seen(await side.client.get(f"https://localhost:{free_port()}/"))


@CHECKS.add
async def a_name_that_does_not_exist(side: Side) -> Any:
    return seen(await side.client.get("https://nowhere.invalid/"))


@CHECKS.add
async def a_certificate_of_another_name(side: Side) -> Any:
    return seen(await side.client.get(side.url.replace("localhost", "127.0.0.2") + "/echo"))


@CHECKS.add
async def plain_http_to_a_tls_port(side: Side) -> Any:
    result = await side.client.get(side.url.replace("https", "http") + "/echo")
    return result.status_code


@CHECKS.add
async def no_scheme_that_is_known(side: Side) -> Any:
    return seen(await side.client.get("ftp://localhost/"))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", CHECKS)
async def test_both_transports_show_the_same(name: str, way: Way, server: str) -> None:
    theirs = await outcome(CHECKS[name], way, way.its_transport(), server)
    ours = await outcome(CHECKS[name], way, way.our_transport(), server)
    assert ours == theirs
