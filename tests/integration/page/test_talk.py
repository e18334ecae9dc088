"""Talk, in a real browser: models and agents answer, tools are called, and what is left stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.page.model_cast import MARKUP, Counter, Speaker
from tests.support.serve.devtools import Chromium, Page
from tests.support.serve.endpoint import free_port
from tests.support.serve.page_client import let_in
from three_mode import Orchestrator
from three_mode.agents import OrchestratorOptions
from three_mode.conversations import Conversations
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.conversations import ConversationBackend

pytestmark = pytest.mark.timeout(180)
TEXTS = "[...document.querySelectorAll('article.model .text')].map((each) => each.textContent)"
IDLE = "document.querySelector('#stop')?.disabled && !document.querySelector('#send').disabled"


@asynccontextmanager
async def talking(browser: Chromium) -> AsyncIterator[tuple[Orchestrator, Page]]:
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Speaker, name="speaker")
        await orc.spawn(Counter, name="counter")
        address = await orc.page()
        async with browser.page(address) as page:
            await page.until("!!document.querySelector('nav a[href=\"#/talk\"]')")
            await page.evaluate("location.hash = '#/talk'")
            await page.until("document.querySelectorAll('#models option').length > 1")
            yield orc, page


@asynccontextmanager
async def keeping(browser: Chromium, folder: Path) -> AsyncIterator[Page]:
    """A page of an endpoint that keeps conversations."""
    async with Orchestrator(hosts=0) as orc, Conversations(folder / "talks.db", orc.llm) as talks:
        await orc.spawn(Speaker, name="speaker")
        port = free_port()
        app = App(ConversationBackend(Connected(orc.llm, orc.bus), talks), ServeOptions(port=port), agents=orc)
        async with serve(app), browser.page(f"http://127.0.0.1:{port}/#/talk") as page:
            await page.until("document.querySelectorAll('#models option').length > 1")
            yield page


async def choose(page: Page, model: str) -> None:
    await page.evaluate("document.querySelector('#model').focus(), document.querySelector('#model').select()")
    await page.type(model)


async def say(page: Page, text: str) -> None:
    await page.evaluate("document.querySelector('#words').focus()")
    await page.type(text)
    await page.press("Enter")


async def test_a_local_model_answers_and_stops_when_it_is_told_to(browser: Chromium) -> None:
    async with talking(browser) as (orc, page):
        await choose(page, "tiny")
        await say(page, "Repeat: apple")
        await page.until(f"{IDLE} && {TEXTS}[0]?.includes('apple')")
        used = await page.text("article.model .used")
        assert "tokens in" in used
        assert "by local" in used
        body = json.loads(await page.evaluate("document.querySelector('#json').textContent"))
        assert (body["model"], body["messages"]) == ("tiny", [{"role": "user", "content": "Repeat: apple"}])
        curl = await page.evaluate("document.querySelector('#curl').textContent")
        assert "$THREE_MODE_KEY" in curl
        before = (await orc.llm.figures()).models[0].statistics
        assert (before.running, before.cancelled) == (0, 0)
        fields = json.dumps({"max_tokens": 4000, "ignore_eos": True})
        await page.evaluate("document.querySelector('.settings details').open = true")
        await page.evaluate("document.querySelector('#fields').focus()")
        await page.type(fields)
        await say(page, "Count")
        await page.until(f"({TEXTS}[1] ?? '').length > 20")
        assert (await orc.llm.figures()).models[0].statistics.running == 1
        await page.press("Escape")
        await page.until(f"{IDLE} && document.body.innerText.includes('stopped by you')")
        async with asyncio.timeout(20):
            while (now := (await orc.llm.figures()).models[0].statistics).running:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.02)
        assert now.cancelled == 1
        assert page.complaints == []


async def test_what_a_model_says_is_text_wherever_it_stands(browser: Chromium) -> None:
    async with talking(browser) as (_, page):
        await choose(page, "agent:speaker")
        title = await page.evaluate("document.title")
        await say(page, "hello")
        await page.until(f"{IDLE} && {TEXTS}.length === 1")
        assert await page.evaluate(TEXTS) == [MARKUP]
        await say(page, "think")
        await page.until("!!document.querySelector('details.thinking')")
        assert not await page.evaluate("document.querySelector('details.thinking').open"), "it is folded"
        assert await page.evaluate("document.querySelector('details.thinking .text').textContent") == MARKUP
        await page.until(IDLE)
        await say(page, "fail")
        await page.until("!!document.querySelector('article.model .problem')")
        assert MARKUP in await page.evaluate("document.querySelector('article.model .problem').textContent")
        await say(page, MARKUP)
        await page.until(f"{IDLE} && document.querySelectorAll('article.user').length === 4")
        await page.until(f"{TEXTS}.length >= 3")
        assert await page.evaluate("document.title") == title
        assert await page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert [each for each in page.complaints if "status of 500" not in each] == []


async def test_an_agent_is_left_when_the_talk_is_stopped(browser: Chromium) -> None:
    async with talking(browser) as (orc, page):
        await choose(page, "agent:speaker")
        await say(page, "forever")
        await page.until(f"({TEXTS}[0] ?? '').length > 20")
        await page.click("#stop")
        await page.until(IDLE)
        async with asyncio.timeout(20):
            while not await orc.ref("speaker/0").ask(Speaker.given_up):  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.02)


async def test_tools_of_agents_are_called_and_shown_and_others_are_asked_of_you(browser: Chromium) -> None:
    async with talking(browser) as (_, page):
        await choose(page, "agent:speaker")
        await page.evaluate("document.querySelector('.settings details').open = true")
        await page.click("#tools")
        await say(page, "call counter_letters")
        await page.until(f"{IDLE} && {TEXTS}.at(-1) === 'The tool said 5'")
        assert await page.evaluate("document.querySelector('.call pre').textContent") == '{\n  "text": "aaaaa"\n}'
        assert await page.evaluate("document.querySelector('article.result pre').textContent") == "5"
        await say(page, "call unknown")
        await page.until("!!document.querySelector('article.result textarea')")
        await page.evaluate("document.querySelector('article.result textarea').focus()")
        await page.type("by hand")
        await page.click("article.result button")
        await page.until(f"{IDLE} && {TEXTS}.at(-1) === 'The tool said by hand'")
        assert page.complaints == []


async def test_an_error_is_said_as_the_endpoint_says_it(browser: Chromium) -> None:
    async with talking(browser) as (_, page):
        await choose(page, "nobody/knows-this")
        await say(page, "hello")
        await page.until("!!document.querySelector('article.model .problem')?.textContent.includes('model_not_found')")
        await page.until(IDLE)


async def test_a_kept_conversation_is_opened_again_forked_and_deleted(browser: Chromium, tmp_path: Path) -> None:
    titles = "[...document.querySelectorAll('.kept li button:first-child')].map((each) => each.textContent.trim())"
    async with keeping(browser, tmp_path) as page:
        await choose(page, "agent:speaker")
        await page.click(".kept p button:nth-of-type(1)")
        await page.until(f"{titles}.length === 1")
        await say(page, "think")
        await page.until(f"{IDLE} && {TEXTS}.at(-1) === 'thought'")
        body = json.loads(await page.evaluate("document.querySelector('#json').textContent"))
        assert body["three_mode.conversation"].startswith("conv_")
        assert len(body["messages"]) == 1
        await say(page, "hello")
        await page.until(f"{IDLE} && document.querySelectorAll('article.user').length === 2 && {TEXTS}.length >= 2")
        body = json.loads(await page.evaluate("document.querySelector('#json').textContent"))
        assert [message["content"] for message in body["messages"]] == ["hello"], "it brings what is new alone"
        await page.click(".kept p button:nth-of-type(2)")
        await page.until(f"{titles}.length === 2")
        await page.until("document.querySelectorAll('article.user').length === 2")
        assert await page.evaluate(titles) == ["think (fork)", "think"]
        await say(page, "think")
        await page.until(f"{IDLE} && document.querySelectorAll('article.user').length === 3")
        await page.click(".kept li:nth-child(2) button:first-child")
        await page.until("document.querySelectorAll('article.user').length === 2")
        said = "[...document.querySelectorAll('article .text')].map((each) => each.textContent)"
        assert await page.evaluate(said) == ["think", "thought", "hello", MARKUP]
        await page.click(".kept li:nth-child(1) button:last-child")
        await page.until(f"{titles}.length === 1")
        await page.evaluate("location.reload()")
        await page.until(f"{titles}.length === 1")
        assert page.complaints == []


async def test_the_conversations_of_a_program_that_allows_it_are_listed_gone_on_with_and_forked(
    browser: Chromium, tmp_path: Path
) -> None:
    titles = "[...document.querySelectorAll('.kept li button:first-child')].map((each) => each.textContent.trim())"
    options = OrchestratorOptions(talks=str(tmp_path / "talks.db"), page_content=True)
    async with Orchestrator(hosts=0, options=options) as orc:
        await orc.spawn(Speaker, name="speaker")
        talk = await orc.talk("alice/1", model="agent:speaker")
        await talk.say(MARKUP)
        async with browser.page(await orc.page()) as page:
            await page.until("!!document.querySelector('nav a[href=\"#/talk\"]')")
            await page.evaluate("location.hash = '#/talk/agent:speaker'")
            await page.until(f"JSON.stringify({titles}) === '[\"alice/1 · 1 turn\"]'")
            await page.click(".kept li button:first-child")
            await page.until("document.querySelector('article.user .text')?.textContent.includes('<')")
            await say(page, "and more")
            await page.until(f"{IDLE} && {titles}[0] === 'alice/1 · 2 turns'")
            assert [message.text for message in await talk.messages()][2] == "and more"
            await page.click(".kept p button:nth-of-type(2)")
            await page.until(f"{titles}.length === 2 && {titles}.some((each) => each.endsWith('fork of alice/1'))")
            await say(page, "only in the fork")
            await page.until(f"{IDLE} && {titles}.some((each) => each.includes('3 turns'))")
            assert len(await talk.turns()) == 2
            assert await page.evaluate("window.hacked === undefined")
            assert page.complaints == []


async def test_a_program_that_does_not_allow_it_keeps_its_conversations_to_itself(tmp_path: Path) -> None:
    options = OrchestratorOptions(talks=str(tmp_path / "talks.db"))
    async with Orchestrator(hosts=0, options=options) as orc:
        await orc.spawn(Speaker, name="speaker")
        await (await orc.talk("alice/1", model="agent:speaker")).say("hello")
        async with let_in(await orc.page()) as page:
            assert (await page.told("hello"))["lists_talks"] is False
            assert (await page.http.get("/v1/conversations")).status_code == 404
