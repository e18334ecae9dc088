"""Writes the corpus that is made from real messages, as the product's own encoders write them, into `corpus/`:

    python -m tests.fuzz.seeds

Files that begin with `found-` are findings, and stay as they are.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hpack
import msgspec
from msgspec import structs

from local_models.gguf.writer import write as write_gguf
from tests.fuzz.corpus import FOLDER, keep
from tests.fuzz.pieces import joined
from three_mode.a2a import protobuf as a2a
from three_mode.a2a.values import ListTasksRequest, SendMessageRequest, TaskRequest
from three_mode.cluster.core import frames as cluster
from three_mode.grpc_messages import convert
from three_mode.mcp import rpc as mcp
from three_mode.messages import (
    Embedded,
    EmbedRequest,
    Finish,
    LLMRequest,
    Message,
    Start,
    TextDelta,
    Tool,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
    UsageUpdate,
    fold,
)
from transports.bus import frames as bus
from transports.bus.registry import wire
from transports.bus.rings.large import Reference
from transports.bus.zeromq import wire as zeromq
from transports.grpc import frame

Seeds = Mapping[str, bytes]
DATA, REFERENCE = 2, 4
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    },
}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def main() -> None:
    """Write all of it."""
    for target, seeds in all_seeds().items():
        for path in (FOLDER / target).glob("*"):
            if not path.name.startswith("found-"):
                path.unlink()
        for name, data in seeds.items():
            keep(target, name, data)


def all_seeds() -> dict[str, Seeds]:
    """The seeds of each target, by name."""
    chat = {"model": "echo", "messages": [{"role": "user", "content": "Hello you"}]}
    return {
        **_bus(),
        **_rings(),
        **_streams(),
        **_http(),
        **_models(),
        **_endpoint(chat),
        **_grpc(),
        **_mcp(),
        "gateway_packets": _gateway(),
    }


# the bus --------------------------------------------------------------------------------------------------------------
def _record(seq: int, topic: bytes, body: bytes, flags: int = DATA) -> bytes:
    content = topic + b"e" + body
    size = (32 + len(content) + 7) // 8 * 8
    return (struct.pack("<IHHQIIQ", size, flags, len(topic), seq, 1, len(body), 0) + content).ljust(size, b"\0")


def _put(oldest: int, at: int, *records: bytes) -> bytes:
    content = b"".join(records)
    return struct.pack("<IIH", oldest, at + len(content), at) + content


def _rings() -> dict[str, Seeds]:
    first, second = _record(1, b"wanted", b"\xa5hello"), _record(2, b"unwanted", b"\x01")
    pad = struct.pack("<IHH", 8, 1, 0)
    reference = _record(3, b"wanted", bus.encode(Reference(5, 2, 100, 1)), REFERENCE)
    gap = _record(9, b"t", b"later")
    page = struct.pack("<10Q", 77, 64, 3, 2, 88, 64, 0, 1, 0, 0) + struct.pack("<6Q", 1, 2, 0, 0, 0, 0)
    return {
        "ring_records": {
            "broadcasts": b"\2" + joined(_put(0, 0, first, second)),
            "pair": b"\1" + joined(_put(0, 0, _record(1, b"", b"\x01"), _record(2, b"", b"\x02"))),
            "from-now-on": b"\0" + joined(_put(0, 0, first, second), _put(0, 96, reference)),
            "gap": b"\2" + joined(_put(0, 0, first), _put(48, 48, gap)),
            "padding": b"\2" + joined(_put(4088, 4088, pad)),
            "lapped": b"\2" + joined(_put(0, 0, first), struct.pack("<IIH", 8000, 8192, 0)),
        },
        "ring_written": {
            "some": joined(b"", b"x", b"d" + bytes(200), bytes(900)),
            "lapped": joined(*[bytes(600)] * 12),
        },
        "ring_pages": {
            f"{kind}-{how}": bytes((number | flags,)) + bytes(43) + page
            for number, kind in enumerate(("ring", "page", "bell", "large"))
            for how, flags in (("content", 8), ("header", 8 | 16), ("raw", 0))
        },
    }


def _bus() -> dict[str, Seeds]:
    ask = bus.pack_envelope(bus.ASK, "scout/0", "@1", 7, 12.5, "00-a-b-01", "score", 0)
    payload = bus.encode({"text": "hello", "n": [1, 2.5, None, True, b"raw"]})
    hello = wire.Hello(wire.PROTOCOL, 0, "b", "zmq", "third", 9, {"pub": "ipc:///x"}, names=("n",), patterns={"t.*": 1})
    members = [
        wire.Register(1, ("a", "b")),
        wire.Unregister(2, ("a",)),
        wire.Subscribed(3, {"t.>": 1, "t": -1}, True),
        wire.Restored(("x",), {"y": 2}),
        wire.LinkTo(3, "@first", 5),
        wire.Unlink("@other", 5),
        wire.RingMade(4),
        wire.SegmentMade(9),
        wire.SegmentGone(9),
        wire.Fetch(5, "@first", 0),
        wire.Gated(1),
        wire.Evict("@first", 1.0),
        wire.Sync(6, True),
        wire.Bye(),
    ]
    bodies = [wire.pack(message)[wire.HEADER.size :] for message in members]
    answers = [wire.Welcome("@1", 0, "@1", 1), wire.Changes(lost=(("@2", "died"),)), wire.RequestRefused(1, "c", "t")]
    heads = {"tick": zeromq.Tick("@1", 4, 0), "want": zeromq.Want("@1", 1, 2), "past": zeromq.Past("@1", 1, 2, 2)}
    return {
        "bus_frames": {
            "ask": joined(ask) + payload,
            "publish": joined(bus.pack_envelope(bus.PUBLISH, topic="news.eu")) + b"\x07",
            "reference": joined(bus.encode(Reference(5, 2, 100, 1))) + b"\xc1",
            **{f"zeromq-{name}": joined(zeromq.pack(head)) for name, head in heads.items()},
        },
        "registry_messages": {
            "joins": joined(b"\x82" + wire.pack(hello)[wire.HEADER.size :], b"\0" + bodies[0]),
            "all": joined(*(bytes((number % 2 | 0x80,)) + each for number, each in enumerate(bodies))),
            "answers": joined(*(b"\0" + wire.pack(each)[wire.HEADER.size :] for each in answers)),
            **{type(message).__name__: joined(b"\x80" + body) for message, body in zip(members, bodies, strict=True)},
        },
        "registry_stream": {"two": b"".join(map(wire.pack, members[:2])), "cut": wire.pack(members[0])[:-1]},
    }


def _gateway() -> Seeds:
    around = cluster.Surroundings(("judge",), {"scout": ("news.*",)}, cluster.Offer(("gpu",), 2, ("mine",)))
    claims = (cluster.Claim("scout/1", 3), cluster.Claim("scout/0", 4, placed=2))
    each = {
        "heartbeat": cluster.HeartbeatFrame("b", 1, 0),
        "leave": cluster.LeaveFrame(),
        "names": cluster.NamesFrame(0, 1, claims, (), around),
        "names-wanted": cluster.NamesWantedFrame(),
        "names-part": cluster.NamesPartFrame(2, 0, 2, claims, around),
        "tip": cluster.TipFrame(3, 1),
        "ack": cluster.AckFrame(1, 4, ((2, 3),)),
        "cast": cluster.CastFrame(1, "news.eu", "scout/1", "", b"\x01"),
        "tell": cluster.TellFrame("scout/0", 1, "read", "b", "", b"\x01"),
        "ask": cluster.AskFrame(5, "scout/0", 1, "score", "b", "", 2.0, 0, b"\x01"),
        "stream": cluster.AskFrame(6, "scout/0", 1, "explain", "b", "", 2.0, 8, b"\x01"),
        "answer": cluster.AnswerFrame(5, b"\x01"),
        "part": cluster.PartFrame(6, 0, b"\x01"),
        "end": cluster.EndFrame(6, 1),
        "fail": cluster.FailFrame(5, "remote_error", "it failed", {"a": 1}),
        "cancel": cluster.CancelFrame(5),
        "credit": cluster.CreditFrame(6, 4),
        "settle": cluster.SettleFrame(1, 1, "news.eu", 1.0),
        "count": cluster.CountFrame(1, 2, 0, 0, 0, 0),
        "piece": cluster.PieceFrame(9, 32, 0, bytes(16)),
        "seal": cluster.SealFrame(9, cluster.AnswerFrame(5, b"")),
        "drop": cluster.DropFrame(9),
        "large-cast": cluster.LargeCastFrame(2, "news.eu", "scout/1", {"a-1": 1}),
        "lost-cast": cluster.LostCastFrame(2),
    }
    beat = _packet("", 0, each["heartbeat"])
    seeds = {name: joined(beat, _packet("a-1", 1, one)) for name, one in each.items()}
    seeds["all"] = joined(beat, *(_packet("a-1", n, one) for n, one in enumerate(list(each.values())[6:20], 1)))
    return seeds


def _packet(to: str, number: int, frame_: Any) -> bytes:
    return cluster.encode(cluster.Packet(cluster.VERSION, "b-1", to, 1 if to else 0, number, frame_))


# streams and HTTP -----------------------------------------------------------------------------------------------------
def _streams() -> dict[str, Seeds]:
    events = b'event: message_start\ndata: {"a": 1}\n\n: ping\n\ndata: x\ndata: y\nid: 7\nretry: 10\n\n'
    return {
        "sse": {
            "lf": b"\0" + events,
            "crlf": b"\5" + events.replace(b"\n", b"\r\n"),
            "cr": b"\7" + events.replace(b"\n", b"\r"),
            "bom": b"\1\xef\xbb\xbfdata: [DONE]\n\n",
            "long": b"\2data: " + b"x" * 500 + b"\n\ndata: y",
            "alike": b"\3" + b"".join(b'data: {"n": %d}\n\n' % n for n in range(5)),
        },
        "ndjson": {
            "ollama": b'\2{"message": {"content": "a"}, "done": false}\n\n{"done": true}',
            "crlf": b'\4{"a": "\xc3\xa9"}\r\n[1]\r\n \r\n',
        },
    }


def _http() -> dict[str, Seeds]:
    post = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"
    upgrade = (
        b"GET /events HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    head = hpack.Encoder().encode(
        [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/x"), ("content-type", "text/plain")]
    )
    answer = hpack.Encoder().encode([(":status", "200"), ("content-length", "2"), ("server", "x")])
    window = struct.pack(">L", 1000)
    to_server = {
        "post": [bytes((1, 4, 1)) + head, bytes((0, 1, 1)) + b"hello"],
        "continuation": [bytes((1, 0, 1)) + head[:4], bytes((9, 4, 1)) + head[4:], bytes((0, 1, 1))],
        "two": [bytes((1, 5, 1)) + head, bytes((1, 5, 3)) + head, bytes((3, 0, 3)) + struct.pack(">L", 8)],
        "control": [
            bytes((4, 1, 0)),
            bytes((6, 0, 0)) + bytes(8),
            bytes((8, 0, 0)) + window,
            bytes((7, 0, 0)) + bytes(8),
        ],
        "settings": [bytes((4, 0, 0)) + struct.pack(">HL", 4, 100), bytes((1, 5, 1)) + head, bytes((8, 0, 1)) + window],
        "padded": [bytes((1, 12, 1)) + b"\2" + head + bytes(2), bytes((0, 9, 1)) + b"\1x\0"],
    }
    to_client = {
        "answer": [
            bytes((1, 4, 1)) + answer,
            bytes((0, 1, 1)) + b"hi",
            bytes((1, 4, 3)) + answer,
            bytes((0, 1, 3)) + b"hi",
        ],
        "trailers": [bytes((1, 4, 1)) + answer, bytes((0, 0, 1)) + b"hi", bytes((1, 5, 1)) + answer[-3:]],
        "goaway": [bytes((7, 0, 0)) + struct.pack(">LL", 1, 0) + b"bye", bytes((1, 5, 1)) + answer],
        "reset": [bytes((3, 0, 1)) + struct.pack(">L", 7), bytes((5, 4, 1)) + window + answer],
    }
    return {
        "http1_requests": {
            "get": b"\0GET /a?b=c HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
            "post": b"\4" + post,
            "chunked": b"\3" + chunked,
            "two": b"\2" + post + post,
            "old": b"\1GET / HTTP/1.0\r\n\r\n",
            "head": b"\1HEAD http://h/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "expect": b"\5" + post.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
            "upgrade": b"\1" + upgrade,
            "smuggled": b"\1" + chunked.replace(b"Host: h", b"Host: h\r\nContent-Length: 3"),
        },
        "http1_responses": {
            "plain": b"\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "chunked": b"\3HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "to-the-end": b"\2HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello",
            "none": b"\1HTTP/1.1 204 No Content\r\n\r\n",
            "informational": b"\1HTTP/1.1 103 Early Hints\r\nL: x\r\n\r\nHTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
        },
        "http2_to_server": {name: bytes((n,)) + joined(*parts) for n, (name, parts) in enumerate(to_server.items())},
        "http2_to_client": {name: bytes((n,)) + joined(*parts) for n, (name, parts) in enumerate(to_client.items())},
    }


# models ---------------------------------------------------------------------------------------------------------------
def _models() -> dict[str, Seeds]:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]{2,5}(-x)?$", "maxLength": 9},
            "age": {"type": "integer", "minimum": 0, "maximum": 150, "multipleOf": 5},
            "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "minItems": 1, "maxItems": 3},
            "next": {"$ref": "#/$defs/node"},
        },
        "required": ["name"],
        "additionalProperties": False,
        "$defs": {"node": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}},
    }
    return {
        "gguf": {"model": _gguf(), "cut": _gguf()[:-40], "version-2": _gguf().replace(b"GGUF\3", b"GGUF\2")},
        "grammar": {
            "list": b'root ::= "[" item ("," ws item)* "]"\nitem ::= [a-z]+ | "\\x41"{2,5}\nws ::= [ \\t\\n]*',
            "tokens": b"root ::= <[5]> | !<[6]> | <s> .\n# a comment\n",
            "nested": b'root ::= ((("a"? "b")+ | c)* "d"{3})\nc ::= "" | [^x-z\\]] c',
        },
        "schema": {
            "object": json.dumps(schema).encode(),
            "all-of": b'{"allOf": [{"type": "string"}, {"minLength": 2}], "format": "date"}',
            "numbers": b'{"type": "number", "exclusiveMinimum": 0.5, "maximum": 1e3}',
            "tuple": b'{"prefixItems": [{"const": 1}, {"type": "boolean"}], "items": false}',
        },
    }


def _gguf() -> bytes:
    """A header with all that is asked of one, and one small tensor."""
    import numpy as np

    path = Path(f"/dev/shm/three-mode-seed-{os.getpid()}.gguf")
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + ["<s>", "a"]
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": 4,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens[-2:],
        "tokenizer.ggml.scores": [0.0, 1.0],
        "tokenizer.ggml.token_type": [3, 1],
        "x.flag": True,
    }
    write_gguf(path, metadata, {"token_embd.weight": np.zeros((2, 4), np.float32)})
    try:
        return path.read_bytes()
    finally:
        path.unlink()


# the endpoint ---------------------------------------------------------------------------------------------------------
def _endpoint(chat: dict[str, Any]) -> dict[str, Seeds]:
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    called = {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
    }
    turn = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}, {"data": {"a": 1}}]}}
    claude = {"model": "echo", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    claude_full = {
        **claude,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "add", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}],
            },
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3"}]},
        ],
    }
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": PICTURE}],
        },
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
    ]
    mcp_meta = {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }
    return {
        "chat_completions": _json(
            plain=chat,
            streamed={**chat, "stream": True, "stream_options": {"include_usage": True}},
            several={**chat, "n": 2, "seed": 1, "stop": ["x"], "logit_bias": {}, "user": "u"},
            tools={**chat, "model": "tool", "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
            parts={**chat, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]},
            called={
                **chat,
                "messages": [*chat["messages"], called, {"role": "tool", "tool_call_id": "c", "content": "3"}],
            },
            schema={
                **chat,
                "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
            },
            numbers={
                **chat,
                "temperature": 0.5,
                "top_p": 1,
                "max_tokens": 5,
                "metadata": {"a": "b"},
                "reasoning_effort": "low",
            },
        ),
        "responses": _json(
            text={"model": "echo", "input": "Hello you"},
            streamed={"model": "echo", "input": "Hello", "stream": True, "store": True},
            items={"model": "echo", "input": items, "instructions": "be brief", "max_output_tokens": 9},
            tools={
                "model": "tool",
                "input": "x",
                "tools": [{"type": "function", **TOOL["function"]}],
                "tool_choice": "auto",
            },  # type: ignore[dict-item]
            schema={
                "model": "echo",
                "input": "x",
                "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
            },
            further={"model": "echo", "input": "x", "previous_response_id": "resp_1", "reasoning": {"effort": "low"}},
        ),
        "messages": _json(plain=claude, streamed={**claude, "stream": True}, full=claude_full),
        "messages_count": _json(plain={"model": "echo", "messages": claude["messages"]}),
        "completions": _json(
            plain={"model": "echo", "prompt": "Once"},
            several={"model": "echo", "prompt": ["a", "b"], "n": 2, "echo": True, "logprobs": 1},
            tokens={"model": "echo", "prompt": [1, 2, 3], "stream": True, "suffix": "x", "max_tokens": 4},
        ),
        "embeddings": _json(
            text={"model": "embedder", "input": "x"},
            several={"model": "embedder", "input": ["x", "yy"], "encoding_format": "base64", "dimensions": 2},
            tokens={"model": "embedder", "input": [[1, 2], [3]]},
        ),
        "rerank": _json(
            texts={"model": "echo", "query": "q", "documents": ["a", "bb"], "top_n": 1},
            objects={"model": "echo", "query": "q", "documents": [{"text": "a"}], "return_documents": True},
        ),
        "a2a_rpc": _json(
            send={"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": turn},
            stream={"jsonrpc": "2.0", "id": "s", "method": "SendStreamingMessage", "params": turn},
            list={
                "jsonrpc": "2.0",
                "id": 2,
                "method": "ListTasks",
                "params": {"pageSize": 5, "status": "TASK_STATE_WORKING"},
            },
            get={"jsonrpc": "2.0", "id": 3, "method": "GetTask", "params": {"id": "t", "historyLength": 1}},
            cancel={"jsonrpc": "2.0", "id": 4, "method": "CancelTask", "params": {"id": "t"}},
        ),
        "a2a_http": {
            **_json(
                send=turn,
                snake={
                    "message": {
                        "message_id": "m",
                        "role": "ROLE_USER",
                        "parts": [{"raw": "aGk=", "media_type": "image/png"}],
                    }
                },
            ),
            "stream": b" " + json.dumps(turn).encode(),
        },
        "mcp_http": _json(
            initialize={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {},
                    "clientInfo": {"name": "x", "version": "1"},
                },
            },
            list={"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
            call={
                "jsonrpc": "2.0",
                "id": 3,
                "method": "tools/call",
                "params": {
                    "name": "ask_model",
                    "arguments": {"model": "echo", "prompt": "x"},
                    "_meta": {"progressToken": 1},
                },
            },
            stateless={"jsonrpc": "2.0", "id": 4, "method": "server/discover", "params": mcp_meta},
            told={"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}},
            answer={"jsonrpc": "2.0", "id": 5, "result": {}},
        ),
    }


def _json(**values: Any) -> Seeds:
    return {name.replace("_", "-"): json.dumps(value).encode() for name, value in values.items()}


# gRPC and MCP ---------------------------------------------------------------------------------------------------------
def _grpc() -> dict[str, Seeds]:
    request = LLMRequest(
        model="echo",
        messages=(
            Message(role="user", content="Hello"),
            Message(role="assistant", content=(ToolCall("c", "add", {"x": 1}),)),
            Message(role="tool", content=(ToolResult("c", "3"),)),
        ),
        tools=(Tool("add", "Adds.", {"type": "object"}),),
        temperature=0.3,
        within=2.0,
        extra={"a": [1, None]},
    )
    chunks = [
        Start(model="m", provider="p"),
        TextDelta("a"),
        ToolDelta(1, "c", "add", "{}"),
        UsageUpdate(Usage(1, 2)),
        Finish(),
    ]
    embed = EmbedRequest.of(["x"], model="embedder", within=2.0)
    values = (
        convert.write_request(request),
        convert.write_message(request.messages[1]),
        convert.write_embed_request(embed),
        convert.write_response(structs.replace(fold(chunks), created_at=datetime(2026, 1, 1, tzinfo=UTC))),
        convert.write_chunk(chunks[2]),
        convert.write_embedded(Embedded(((0.5, 1.0),), "m", Usage(1))),
        convert.write_tool_result(ToolResult("c", "3")),
    )
    raw = [value.SerializeToString() for value in values]
    turn = msgspec.convert(
        {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}}, SendMessageRequest
    )
    a2a_values = {
        "CancelTask": TaskRequest(id="t"),
        "GetTask": TaskRequest(id="t"),
        "ListTasks": ListTasksRequest(page_size=5),
        "SendMessage": turn,
        "SendStreamingMessage": turn,
        "SubscribeToTask": TaskRequest(id="t"),
    }
    methods = sorted(a2a.MESSAGES)
    a2a_raw = {name: a2a.write_call(name, value) for name, value in a2a_values.items() if name in methods}
    bomb = zlib.compressobj(wbits=31)
    bombed = bomb.compress(bytes(1 << 20)) + bomb.flush()
    return {
        "grpc_framing": {
            "identity": b"\0" + frame(b"hello") + frame(b""),
            "gzip": b"\1" + frame(b"hello", b"gzip"),
            "deflate": b"\2" + frame(b"x" * 100, b"deflate"),
            "bomb": b"\1" + struct.pack(">BI", 1, len(bombed)) + bombed,
            "timeout": b"\x0010S",
            "text": b"\0a%20b%",
        },
        "grpc_messages": {type(value).__name__: bytes((n,)) + raw[n] for n, value in enumerate(values)},
        "grpc_a2a_messages": {name: bytes((methods.index(name),)) + each for name, each in a2a_raw.items()},
        "grpc_calls": {
            "chat": b"\0" + joined(raw[0]),
            "stream": b"\1" + joined(raw[0]),
            "stream-packed": bytes((11,)) + joined(raw[0]),
            "embed": b"\2" + joined(raw[2]),
            "converse": b"\3" + joined(raw[0], raw[1]),
            "models": b"\4" + joined(b""),
            "a2a-send": b"\5" + joined(a2a_raw["SendMessage"]),
            "a2a-list": b"\6" + joined(a2a_raw["ListTasks"]),
            "health": b"\7" + joined(b""),
            "reflection": bytes((8,)) + joined(b"\x3a\x00"),
            "agent": bytes((9,)) + joined(b"\x0a\x01x"),
            "raw": bytes((201,)) + frame(raw[0]),
        },
    }


def _mcp() -> dict[str, Seeds]:
    lines = list(_mcp_lines())
    names = (
        "initialize",
        "initialized",
        "list",
        "call",
        "cancelled",
        "ping",
        "discover",
        "listen",
        "result",
        "failure",
    )
    content = [{"type": "text", "text": "x"}, {"type": "image", "data": "aGk=", "mimeType": "image/png"}]
    return {
        "mcp_messages": {
            **dict(zip(names, lines, strict=True)),
            "content": mcp.write_result(1, {"content": content, "structuredContent": {"a": 1}, "isError": False}),
        },
        "mcp_session": {
            "handshake": b"\3" + b"\n".join(lines[:5]) + b"\n",
            "all": b"\7" + b"\n".join(lines) + b"\n\n{",
        },
    }


def _mcp_lines() -> Iterator[bytes]:
    meta = {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }
    said = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    yield mcp.write_request(1, "initialize", said)
    yield mcp.write_notification("notifications/initialized")
    yield mcp.write_request(2, "tools/list", {})
    yield mcp.write_request("3", "tools/call", {"name": "x", "arguments": {}, "_meta": {"progressToken": 1}})
    yield mcp.write_notification("notifications/cancelled", {"requestId": "3"})
    yield mcp.write_request(4, "ping", {})
    yield mcp.write_request(5, "server/discover", meta)
    yield mcp.write_request(6, "subscriptions/listen", {**meta, "notifications": {"toolsListChanged": True}})
    yield mcp.write_result(7, {"tools": []})
    yield mcp.write_failure(mcp.RpcFailure(mcp.INVALID_PARAMS, "wrong", {"a": 1}), 8)


if __name__ == "__main__":
    main()
