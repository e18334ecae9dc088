#!/usr/bin/env python3
"""A `claude` command that behaves like the real one, or like a broken one, according to FAKE_CLAUDE.

It writes its arguments, input and signals to the file that FAKE_CLAUDE_LOG names.
"""

import json
import os
import signal
import sys
import time

HOW = os.environ.get("FAKE_CLAUDE", "good")
LOG = os.environ.get("FAKE_CLAUDE_LOG")
SESSION = "5e55-10n"
USAGE = {
    "input_tokens": 5,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 3,
    "output_tokens": 7,
}


def log(**what: object) -> None:
    if LOG:
        with open(LOG, "a") as file:
            file.write(json.dumps(what) + "\n")


def out(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(**line: object) -> None:
    out(json.dumps({**line, "session_id": SESSION}))


def event(**what: object) -> None:
    say(type="stream_event", event=what)


def answer(*text: str, thinking: str = "") -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "usage": USAGE,
    }
    event(type="message_start", message=message)
    if thinking:
        event(
            type="content_block_start",
            index=0,
            content_block={"type": "thinking", "thinking": "", "signature": ""},
        )
        event(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": thinking})
        event(type="content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"})
        event(type="content_block_stop", index=0)
    event(type="content_block_start", index=1, content_block={"type": "text", "text": ""})
    for piece in text:
        event(type="content_block_delta", index=1, delta={"type": "text_delta", "text": piece})
    event(type="content_block_stop", index=1)
    event(type="message_delta", delta={"stop_reason": "end_turn"}, usage=USAGE)
    event(type="message_stop")
    say(type="assistant", message={**message, "content": [{"type": "text", "text": "".join(text)}]})


def result(text: str, **more: object) -> None:
    said = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": text,
        "usage": USAGE,
        "total_cost_usd": 0.0125,
    }
    say(**{**said, **more})


def main() -> None:
    if "--version" in sys.argv:
        out("2.0.0 (Claude Code)")
        return
    log(arguments=sys.argv[1:])
    if HOW == "ignores-input":
        time.sleep(60)
    if HOW == "dies-at-once":
        sys.stderr.write("something went wrong\n")
        sys.exit(3)
    line = sys.stdin.readline()
    log(stdin=json.loads(line))
    if HOW == "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: log(signal="TERM"))
    else:

        def term(*_: object) -> None:
            log(signal="TERM")
            sys.exit(143)

        signal.signal(signal.SIGTERM, term)
    if HOW == "greets":
        out("Welcome! A new version is available.\n\n[info] {not json}")
    say(type="system", subtype="init", tools=[], model="claude-sonnet-4-5")
    if HOW in ("stalls", "stubborn"):
        while True:
            time.sleep(60)
    if HOW == "not-logged-in":
        say(type="assistant", message={"content": [{"type": "text", "text": "Invalid API key"}]})
        result("Invalid API key · Please run /login", is_error=True)
        sys.exit(1)
    if HOW == "limit":
        result("Claude AI usage limit reached|1800000000", is_error=True)
        sys.exit(1)
    if HOW == "cut":
        event(type="message_start", message={"id": "m", "model": "x", "usage": USAGE})
        event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"})
        sys.stderr.write("Segmentation fault\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if HOW == "stalls-after":
        event(type="message_start", message={"id": "m", "model": "x", "usage": USAGE})
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"})
        while True:
            time.sleep(60)
    if HOW == "rubbish":
        out('{"type": "stream_event", "event": 7}\n{"type":')
        return
    if HOW == "endless-line":
        while True:
            sys.stdout.write("{" * 65536)
    if HOW == "no-partials":
        say(type="assistant", message={"content": [{"type": "text", "text": "Hello world!"}]})
        result("Hello world!")
        return
    if HOW == "uses-a-tool-of-its-own":
        answer("Let me look. ")
        say(
            type="user",
            message={
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}],
            },
        )
        answer("Hello", " world!")
        result("Hello world!", num_turns=2)
        return
    answer("Hello", " ", "world!", thinking="hm")
    if HOW == "lingers":
        result("Hello world!")
        time.sleep(60)
    result("Hello world!")


if __name__ == "__main__":
    main()
