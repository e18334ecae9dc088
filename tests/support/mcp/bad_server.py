"""MCP servers on standard input and output that misbehave, each as its first argument says. Run as a program."""

import json
import os
import signal
import sys
import time
from typing import Any

TOOLS = [{"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}]


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def say(message: Any) -> None:
    write(json.dumps(message) + "\n")


def result(request: dict[str, Any], found: Any) -> None:
    say({"jsonrpc": "2.0", "id": request["id"], "result": found})


def refuse(request: dict[str, Any], code: int = -32601) -> None:
    say({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": "no"}})


def text(request: dict[str, Any], words: str) -> None:
    result(request, {"content": [{"type": "text", "text": words}]})


def call(kind: str, request: dict[str, Any]) -> None:
    """Answers a call as the kind of server does."""
    words = request["params"].get("arguments", {}).get("text", "")
    if kind == "hangs":
        pass
    elif kind == "dies":
        sys.stderr.write("out of memory\n")
        sys.stderr.flush()
        os._exit(7)
    elif kind == "dies_once":
        if words == "die":
            os._exit(7)
        text(request, words)
    elif kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "half_line":
        write(f'{{"jsonrpc": "2.0", "id": {request["id"]}, "result"')
        os._exit(0)
    elif kind == "pieces":
        line = json.dumps(
            {"jsonrpc": "2.0", "id": request["id"], "result": {"content": [{"type": "text", "text": "é"}]}}
        )
        for piece in line + "\r\n":
            write(piece)
            time.sleep(0.001)
    elif kind == "long_line":
        for _ in range(200):
            write("x" * (1 << 20))
    elif kind == "garbage":
        write("log: a call has come\n\x00\x01\n[]\nnull\n42\n{}\n" + '{"jsonrpc": "1.0", "id": 1, "result": {}}\n')
        text(request, "after garbage")
    elif kind == "only_garbage":
        write("Traceback (most recent call last):\n" * 3)
    elif kind == "wrong_id":
        for other in (999, "x", None, -1):
            say({"jsonrpc": "2.0", "id": other, "result": {"content": [{"type": "text", "text": "not yours"}]}})
        text(request, "yours")
    elif kind == "unread":
        say({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "I cannot read"}})
    elif kind == "twice":
        text(request, words)
        text(request, "again")
    elif kind == "batch":
        say([{"jsonrpc": "2.0", "id": request["id"], "result": {"content": []}}])
        text(request, "after a batch")
    elif kind == "floods":
        for number in range(20_000):
            say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 100, "n": number}})
        text(request, "after a flood")
    elif kind == "floods_for_ever":
        while True:
            say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    elif kind == "asks":
        say({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage", "params": {}})
        answer = json.loads(sys.stdin.readline())
        say({"jsonrpc": "2.0", "id": "s2", "method": "ping"})
        pong = json.loads(sys.stdin.readline())
        text(request, f"{answer['error']['code']} {pong['result']}")
    elif kind == "late":
        time.sleep(0.6 if words == "late" else 0)
        text(request, words)
    elif kind == "no_result":
        result(request, [1, 2])
    elif kind == "bad_content":
        result(request, {"content": "text"})
    elif kind == "protocol_error":
        refuse(request, -32603)
    elif kind == "unfit":
        refuse(request, -32602)
    elif kind == "wants_input":
        result(request, {"resultType": "input_required", "inputRequests": {}})
    else:
        text(request, words)


def main() -> None:
    kind = sys.argv[1]
    if kind in ("stubborn", "deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "exits":
        sys.stderr.write("no such database\n")
        sys.exit(4)
    while kind == "deaf":
        time.sleep(1)
    while True:
        line = sys.stdin.readline()
        if not line:
            while kind == "stubborn":
                time.sleep(1)
            return
        request = json.loads(line)
        method = request.get("method")
        if f"dies at {method}" == kind:
            os._exit(5)
        if "id" not in request or f"hangs at {method}" == kind:
            continue
        if method == "server/discover":
            if kind != "old_and_silent":
                refuse(request)
        elif method == "initialize":
            version = "1999-01-01" if kind == "unknown_version" else "2025-06-18"
            capabilities = {"tools": {"listChanged": True}}
            found = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": {"name": kind}}
            result(request, {"garbage": True} if kind == "bad_initialize" else found)
        elif method == "tools/list":
            if kind == "bad_list":
                result(request, {"tools": "echo"})
            elif kind == "odd_tools":
                result(request, {"tools": [*TOOLS, {"name": 3}, None, {"name": "a.b", "inputSchema": {}}]})
            elif kind == "endless_list":
                result(request, {"tools": TOOLS, "nextCursor": "again"})
            elif kind == "many_tools":
                result(request, {"tools": [{"name": f"t{n}", "inputSchema": {}} for n in range(5000)]})
            else:
                result(request, {"tools": TOOLS})
        elif method == "tools/call":
            call(kind, request)


if __name__ == "__main__":
    main()
