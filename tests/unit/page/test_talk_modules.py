"""Modules of the talk view that need no browser: events out of bytes, answers out of events, requests."""

import json
import shlex
from pathlib import Path
from typing import Any

from tests.support.page.node import answers, needs_node
from three_mode.errors import StreamInterrupted
from three_mode.messages import Finish, Start, TextDelta, ThinkingDelta, ToolDelta, Usage, UsageUpdate
from three_mode.serve.wire_out import ChunkWriter

pytestmark = needs_node

EVERY_CUT = """
import {EventStream} from "./page/sse.js";
const answer = given.map((text) => {
  const bytes = Buffer.from(text);
  const read = (...cuts) => {
    const events = new EventStream();
    const ends = [...cuts, bytes.length];
    return JSON.stringify(ends.flatMap((end, place) => events.feed(bytes.subarray(place ? ends[place - 1] : 0, end))));
  };
  const whole = read();
  const other = [];
  for (let one = 0; one <= bytes.length; one++) {
    for (let two = one; two <= bytes.length; two++) if (read(one, two) !== whole) other.push([one, two]);
  }
  if (read(...bytes.keys()) !== whole) other.push("byte by byte");
  return {whole: JSON.parse(whole), other};
});
"""


def event(data: str, name: str = "message", number: str = "") -> dict[str, str]:
    return {"event": name, "data": data, "id": number}


STREAMS = [
    ("data: one\n\ndata:two\n\n", [event("one"), event("two")]),
    ("data: one\r\n\r\ndata: two\r\n\r\n", [event("one"), event("two")]),
    ("data: one\r\rdata: two\r\r", [event("one"), event("two")]),
    ("data: a\rdata: b\r\ndata: c\n\r\n", [event("a\nb\nc")]),
    (
        ": alive\n\nevent: error\nid: 7\ndata: x\n\ndata:  y\n\n",
        [event("x", "error", "7"), event(" y", number="7")],
    ),
    ("data\n\ndata: no end", [event("")]),
    ("event: alone\n\nretry: 5\nother: z\ndata: x\n\n", [event("x")]),
    ("\ufeffdata: München 東京 🛶é\n\n", [event("München 東京 🛶é")]),
    ("data: \ufeff\n\nid: a\0b\ndata:\n\n", [event("\ufeff"), event("")]),
]


def test_events_are_the_same_however_the_bytes_are_cut(tmp_path: Path) -> None:
    found = answers(tmp_path, EVERY_CUT, [text for text, _ in STREAMS])
    assert found == [{"whole": events, "other": []} for _, events in STREAMS]


def test_an_event_that_never_ends_is_an_error_and_no_growing_memory(tmp_path: Path) -> None:
    script = """
import {EventStream} from "./page/sse.js";
const answer = [];
for (const piece of given) {
  const events = new EventStream(1000);
  try {
    for (let turn = 0; turn < 1100; turn++) events.feed(Buffer.from(piece));
    answer.push("read");
  } catch (error) {
    answer.push(error.message);
  }
}
"""
    said = "an event of more than 1000 characters"
    found = answers(tmp_path, script, ["no end ", "data: some\n", "data: short\n\n", ": a comment\n", "data\n"])
    assert found == [said, said, "read", "read", said]


ANSWER = """
import {EventStream} from "./page/sse.js";
import {Answer} from "./page/talk/answer.js";
const of = (text) => {
  const answer = new Answer();
  for (const event of new EventStream().feed(Buffer.from(text))) answer.take(event.data);
  answer.ended();
  return {...answer, message: answer.message()};
};
const answer = given.map(of);
"""


def stream(*chunks: Any, end: bytes = b"") -> str:
    writer = ChunkWriter("chatcmpl-1", "asked", 0, include_usage=True)
    return (writer.first() + b"".join(map(writer.write, chunks)) + end).decode()


def test_an_answer_is_what_the_endpoint_writes(tmp_path: Path) -> None:
    from decimal import Decimal

    paid = Usage(input_tokens=12, output_tokens=3, cost=Decimal("0.0125"))
    (answer,) = answers(
        tmp_path,
        ANSWER,
        [
            stream(
                Start(model="m", provider="openai"),
                ThinkingDelta("let me "),
                ThinkingDelta("see"),
                TextDelta("<img src=x "),
                TextDelta("onerror=alert(1)>"),
                ToolDelta(3, "call_a", "add", '{"x":'),
                ToolDelta(3, arguments="1}"),
                ToolDelta(5, "call_b", "mul", ""),
                UsageUpdate(paid),
                Finish("tool_calls"),
            )
        ],
    )
    assert (answer["text"], answer["thinking"]) == ("<img src=x onerror=alert(1)>", "let me see")
    assert (answer["model"], answer["provider"], answer["cost"]) == ("m", "openai", "0.0125")
    assert (answer["finish"], answer["whole"], answer["error"]) == ("tool_calls", True, None)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (12, 3)
    assert answer["message"] == {
        "role": "assistant",
        "content": "<img src=x onerror=alert(1)>",
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}},
            {"id": "call_b", "type": "function", "function": {"name": "mul", "arguments": "{}"}},
        ],
    }


def test_an_answer_that_breaks_off_says_so_and_keeps_what_came(tmp_path: Path) -> None:
    broken = ChunkWriter("n", "m", 0, include_usage=True).broken(StreamInterrupted("the provider went away"))
    told, cut, no_json = answers(
        tmp_path, ANSWER, [stream(TextDelta("so far"), end=broken), stream(TextDelta("so far")), "data: {\n\n"]
    )
    assert told["text"] == cut["text"] == "so far"
    assert told["error"] == {"message": "the provider went away", "code": "stream_interrupted"}
    assert cut["error"] == {"message": "the answer broke off", "code": "stream_interrupted"}
    assert no_json["error"]["code"] == "bad_event"


def test_the_raw_request_is_a_line_that_a_shell_takes(tmp_path: Path) -> None:
    script = """
import {bodyOf, curlLine} from "./page/talk/request.js";
const body = bodyOf(given);
const answer = {body, plain: curlLine("http://127.0.0.1:8080", body, false), keyed: curlLine("https://h", body, true)};
"""
    said = 'it\'s $HOME `id` \\ "quoted" \n 東京'
    given = {
        "model": "tiny",
        "system": "brief",
        "turns": [{"role": "user", "content": said}],
        "tools": [{"name": "add", "description": "", "parameters": {"type": "object"}}],
        "conversation": "conv_1",
        "fields": {"temperature": 0},
    }
    found = answers(tmp_path, script, given)
    words = shlex.split(found["plain"])
    assert words[:2] == ["curl", "-N"]
    assert words[2] == "http://127.0.0.1:8080/v1/chat/completions"
    assert json.loads(words[words.index("-d") + 1]) == found["body"]
    assert found["body"]["messages"] == [{"role": "system", "content": "brief"}, {"role": "user", "content": said}]
    assert (found["body"]["three_mode.conversation"], found["body"]["temperature"]) == ("conv_1", 0)
    assert found["body"]["tools"][0]["function"]["name"] == "add"
    assert '-H "authorization: Bearer $THREE_MODE_KEY"' in found["keyed"]


def test_further_fields_are_an_object_that_leaves_the_pages_own_alone(tmp_path: Path) -> None:
    script = """
import {fieldsOf} from "./page/talk/request.js";
const answer = given.map((text) => { try { return fieldsOf(text); } catch (error) { return error.message; } });
"""
    found = answers(tmp_path, script, ["", '{"seed": 7}', "[1]", "{", '{"stream": false}'])
    assert found[:3] == [{}, {"seed": 7}, 'the further fields are a JSON object, such as {"temperature": 0}']
    assert found[3].startswith("the further fields are not JSON")
    assert found[4] == "stream is set by the page"
