"""What is said in one `Converse`: messages so far, calls of tools that wait for their results, what may come next.

Pure: it is told what came, and says whether a model has to answer now.
"""

import msgspec

from three_mode.errors import InvalidRequest
from three_mode.grpc_messages import convert
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import LLMRequest, LLMResponse, Message, Part, ToolCall, ToolResult

ANSWERED = ("user", "tool")


class Dialogue:
    """A conversation that lasts as long as its call."""

    def __init__(self, opened: pb.ChatRequest, most_messages: int, most_bytes: int) -> None:
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._messages = [convert.read_message(message) for message in opened.messages]
        self.bytes = opened.ByteSize()  # of all that is said, about
        self._open_calls: dict[str, str] = {}  # id -> name, of the last answer
        self._results: list[ToolResult] = []
        bare = pb.ChatRequest()
        bare.CopyFrom(opened)
        del bare.messages[:]
        bare.messages.add(role="user", content="-")  # a request has a message; each turn brings its own
        self._options = convert.read_request(bare)
        self.turn = 0
        if self._messages and self._messages[-1].role == "assistant":
            self._wait_for_results(self._messages[-1].parts)

    @property
    def begins_with_answer(self) -> bool:
        """Whether what opened it has to be answered."""
        return bool(self._messages) and self._messages[-1].role in ANSWERED

    def say(self, message: Message, size: int) -> bool:
        """The next message; True where a model has to answer it."""
        if self._open_calls:
            waiting = ", ".join(self._open_calls)
            raise InvalidRequest(
                f"the last answer calls tools, and {waiting} have no result", field="say", hint="send tool_result first"
            )
        self._grow(size)
        self._messages.append(message)
        return message.role in ANSWERED

    def add_result(self, result: ToolResult, size: int) -> bool:
        """The result of a tool; True where each call has one, and the model goes on."""
        if result.call_id not in self._open_calls:
            open_calls = ", ".join(self._open_calls) or "none"
            raise InvalidRequest(
                f"no call {result.call_id[:60]!r} waits for a result", field="tool_result", hint=f"open: {open_calls}"
            )
        self._grow(size)
        del self._open_calls[result.call_id]
        self._results.append(result)
        if self._open_calls:
            return False
        self._messages.append(Message("tool", tuple(self._results)))
        self._results.clear()
        return True

    def request(self, within: float) -> LLMRequest:
        """The request for the next answer."""
        self.turn += 1
        return msgspec.structs.replace(self._options, messages=tuple(self._messages), within=within)

    def answered(self, reply: LLMResponse, *, whole: bool) -> None:
        """The answer, or as much as came of it: half a call of a tool is none."""
        parts: tuple[Part, ...] = reply.parts
        if not whole:
            parts = tuple(part for part in parts if not isinstance(part, ToolCall))
        if parts:
            self._messages.append(Message("assistant", parts))
            self.bytes += sum(len(getattr(part, "text", "")) for part in parts)
            self._wait_for_results(parts)

    def _wait_for_results(self, parts: tuple[Part, ...]) -> None:
        self._open_calls = {part.id: part.name for part in parts if isinstance(part, ToolCall)}

    def _grow(self, size: int) -> None:
        if len(self._messages) >= self._most_messages or self.bytes + size > self._most_bytes:
            raise InvalidRequest(
                f"a conversation has at most {self._most_messages} messages and {self._most_bytes} bytes",
                hint="open another one",
            )
        self.bytes += size
