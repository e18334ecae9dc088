"""Providers that echo the key of a call in their refusals: it is in no field of our errors, no log and no record."""

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.support.http2.servers import CERTIFICATES
from tests.support.providers.servers import PATHS, hello, transport
from three_mode import LLMConnection, errors
from three_mode.connection import Account, ConnectionOptions, Observing
from three_mode.messages import encode_error
from three_mode.observe import JSONFormatter, RecordOptions
from three_mode.policies import Policies, RetryOptions
from three_mode.testing import Answer, ScriptedProvider

KEY = "a-key-that-looks-like-no-key-0123456789"
PROXY = "another-secret-of-the-proxy"
EVENTS = ((b"content-type", b"text/event-stream"),)
PLACES: dict[str, Answer] = {
    "message": Answer(status=400, pieces=(json.dumps({"error": {"message": f"bad {KEY}"}}).encode(),)),
    "a long message": Answer(status=400, pieces=(json.dumps({"error": {"message": "x" * 490 + KEY}}).encode(),)),
    "type": Answer(status=400, pieces=(json.dumps({"error": {"message": "no", "type": KEY, "status": KEY}}).encode(),)),
    "code": Answer(status=401, pieces=(json.dumps({"error": {"message": "no", "code": KEY}}).encode(),)),
    "param": Answer(status=400, pieces=(json.dumps({"error": {"message": "no", "param": KEY}}).encode(),)),
    "page": Answer(status=502, pieces=(f"<html>Bearer {KEY} {PROXY}</html>".encode(),)),
    "x-request-id": Answer(status=500, headers=((b"x-request-id", KEY.encode()),)),
    "request-id": Answer(status=500, headers=((b"request-id", PROXY.encode()),)),
    "request_id": Answer(
        status=400, pieces=(json.dumps({"error": {"message": "no", "type": "x"}, "request_id": KEY}).encode(),)
    ),
    "no JSON": Answer(pieces=(f"{KEY} {PROXY}".encode(),)),
    "a wrong shape": Answer(pieces=(json.dumps({"choices": {KEY: 1}, "content": KEY}).encode(),)),
    "an event": Answer(
        headers=EVENTS,
        pieces=(b"data: " + json.dumps({"type": "error", "error": {"message": KEY, "code": KEY}}).encode() + b"\n\n",),
        streamed=True,
    ),
    "no event": Answer(headers=EVENTS, pieces=(f"data: {KEY}\n\n".encode(),), streamed=True),
}


def texts(error: BaseException | None) -> list[str]:
    """All that an error says, with those behind it."""
    found: list[str] = []
    while error is not None:
        found += [str(error), repr(error), repr(error.args)]
        if isinstance(error, errors.ThreeModeError):
            found += [repr(getattr(error, item.name)) for item in fields(error)]
            found.append(json.dumps(encode_error(error), default=str))
        error = error.__cause__
    return found


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "ollama"])
@pytest.mark.parametrize("where", PLACES)
async def test_a_key_that_a_provider_echoes_is_in_no_error(
    where: str, provider: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="three_mode")
    async with ScriptedProvider("h2", certificates=CERTIFICATES) as server:
        server.always(PLACES[where])
        account = Account(
            api_key=KEY, base_url=server.url + PATHS[provider], headers={"Proxy-Authorization": f"Basic {PROXY}"}
        )
        llm = LLMConnection(
            provider,
            options=ConnectionOptions(accounts={provider: account}, transport=transport("h2")),
            policies=Policies(retry=RetryOptions(attempts=1)),
            observe=Observing(records=RecordOptions(path=tmp_path / "records")),
        )
        calls: dict[str, Any] = {
            "whole": lambda: llm.chat_completion(hello()),
            "stream": lambda: llm.stream(hello()).text(),
            "models": lambda: llm.models(),
        }
        if provider != "anthropic":
            calls["embed"] = lambda: llm.embed("m", ["text"])
        said: list[str] = []
        async with llm:
            for call in calls.values():
                try:
                    await call()
                except errors.ThreeModeError as error:
                    said += texts(error)
        assert said
        said += [JSONFormatter().format(record) for record in caplog.records if record.name.startswith("three_mode")]
        said.append((tmp_path / "records").read_text())
        for secret in (KEY, PROXY):
            assert not [text for text in said if secret in text]
        assert not [text for text in said if KEY[:12] in text], "nor is the beginning of it"
