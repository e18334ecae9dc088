"""A real browser reads `/events` over its own WebSocket: with a key as a subprotocol, from a page that may, and from
pages that may not.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.agents.until import until
from tests.support.serve.browser import browsing, chromium, site
from tests.support.serve.endpoint import endpoint
from three_mode.serve.events import RESPONSE_CHUNK, RESPONSE_COMPLETE, RESPONSE_START

pytestmark = pytest.mark.skipif(chromium() is None, reason="chromium is not installed (Debian: chromium)")
KEY = "a-key-of-the-test"  # pragma: allowlist secret
START = 90.0  # seconds that a browser may take to start on a busy machine

# Reads until a response is complete, and reports all it read; or that it was not let in.
PAGE = """<!doctype html><title>events</title><script>
const seen = [];
const report = (what) => fetch("/report", {method: "POST", body: JSON.stringify(what)});
const socket = new WebSocket(URL_OF_EVENTS, PROTOCOLS);
socket.onopen = () => report({who: WHO, open: true, protocol: socket.protocol});
socket.onmessage = (message) => {
  const event = JSON.parse(message.data);
  seen.push(event);
  if (event.type === "LAST") { report({who: WHO, seen: seen}); socket.close(); }
};
socket.onerror = () => report({who: WHO, open: false});
</script>"""


# Asks for a streamed answer as any page does: a key in a header, a body of JSON, and the answer read as it comes.
ASKING = """<!doctype html><title>asks</title><script>
const report = (what) => fetch("/report", {method: "POST", body: JSON.stringify(what)});
const body = {model: "echo", stream: true, messages: [{role: "user", content: "good day"}]};
const headers = {"authorization": "Bearer " + KEY, "content-type": "application/json", "three-mode-within": "5"};
fetch(URL_OF_CHAT, {method: "POST", headers: headers, body: JSON.stringify(body)})
  .then(async (reply) => report({status: reply.status, text: await reply.text()}))
  .catch((error) => report({status: 0, text: String(error)}));
</script>"""


def page(who: str, url: str, protocols: list[str], more: str = "") -> str:
    words = {"URL_OF_EVENTS": url, "PROTOCOLS": protocols, "WHO": who}
    text = PAGE.replace('"LAST"', json.dumps(RESPONSE_COMPLETE))
    for word, value in words.items():
        text = text.replace(word, json.dumps(value))
    return text + more


async def next_report(pages: Any, within: float = START) -> Any:
    return await asyncio.wait_for(pages.reports.get(), within)


@pytest.mark.timeout(180)
async def test_a_browser_reads_the_events(tmp_path: Path) -> None:
    async with (
        site() as elsewhere,
        site() as ours,
        endpoint(api_keys=frozenset({KEY}), allowed_origins=frozenset({ours.origin})) as found,
    ):
        url = found.url.replace("http", "ws") + "/events"
        good = ["three-mode.events", f"bearer.{KEY}"]
        frames = f'<iframe src="/wrong"></iframe><iframe src="{elsewhere.origin}/stranger"></iframe>'
        elsewhere.pages["/stranger"] = page("stranger", url, good)
        ours.pages["/wrong"] = page("wrong", url, ["three-mode.events", "bearer.wrong"])
        ours.pages["/reader"] = page("reader", url, good, frames)
        async with browsing(f"{ours.origin}/reader", tmp_path):
            first = [await next_report(ours) for _ in range(2)]
            told = {report["who"]: report for report in [*first, await next_report(elsewhere)]}
            assert told["wrong"]["open"] is False, "a wrong key"
            assert told["stranger"]["open"] is False, "a page of an origin that nobody named, with the right key"
            assert told["reader"] == {"who": "reader", "open": True, "protocol": "three-mode.events"}
            await until(lambda: len(found.app.events) == 1)
            async with openai.AsyncOpenAI(base_url=f"{found.url}/v1", api_key=KEY, max_retries=0) as sdk:
                messages: Any = [{"role": "user", "content": "größer als 日本"}]
                async for _ in await sdk.chat.completions.create(model="echo", messages=messages, stream=True):
                    pass
            events = (await next_report(ours))["seen"]
            assert [event["type"] for event in events] == [
                RESPONSE_START,
                *[RESPONSE_CHUNK] * 3,
                RESPONSE_COMPLETE,
            ]
            assert "".join(event["data"].get("text", "") for event in events) == "größer als 日本 "
            assert events[0]["data"]["model"] == "echo"
            await until(lambda: len(found.app.events) == 0)  # the page closed its socket


@pytest.mark.timeout(180)
async def test_a_page_asks_if_its_origin_was_named(tmp_path: Path) -> None:
    async with (
        site() as elsewhere,
        site() as ours,
        endpoint(api_keys=frozenset({KEY}), allowed_origins=frozenset({ours.origin})) as found,
    ):
        url = found.url + "/v1/chat/completions"
        asking = ASKING.replace("URL_OF_CHAT", json.dumps(url)).replace("KEY", json.dumps(KEY))
        elsewhere.pages["/page"] = asking
        ours.pages["/page"] = asking + f'<iframe src="{elsewhere.origin}/page"></iframe>'
        async with browsing(f"{ours.origin}/page", tmp_path):
            answered, refused = await next_report(ours), await next_report(elsewhere)
    assert answered["status"] == 200
    assert answered["text"].endswith("data: [DONE]\n\n")
    assert refused["status"] == 0, "the browser keeps it from a page that nobody named"
    assert [request.within for request in found.backend.seen] == [5.0], "and nothing was worked out for it"
