"""The stream of a model whose tools are emulated: calls are taken out of its text, and the rest is passed on as it comes."""

import msgspec

from three_mode.channels.channel import OpenReply
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, Finish, Text, TextDelta, ToolCall, ToolDelta
from three_mode.providers.emulation import CallsInText
from three_mode.providers.pieces import encode_json


class Emulated:
    """Text between calls is a block of its own, so that folding the chunks gives what a whole reply gives."""

    def __init__(self, opened: OpenReply) -> None:
        self._opened = opened
        self._calls = CallsInText()
        self._index = 0
        self._error: ThreeModeError | None = None

    async def more(self) -> list[Chunk]:
        out: list[Chunk] = []
        while not out:
            if self._error is not None:
                raise self._error
            try:
                batch = await self._opened.more()
            except ThreeModeError as error:  # what was held back comes before it
                self._error = error
                self._give(self._calls.finish(), out)
                continue
            if not batch:
                break
            for chunk in batch:
                self._pass_on(chunk, out)
        return out

    def close(self) -> None:
        self._opened.close()

    def _pass_on(self, chunk: Chunk, out: list[Chunk]) -> None:
        if isinstance(chunk, TextDelta):
            self._give(self._calls.feed(chunk.text), out)
        elif isinstance(chunk, Finish):
            self._give(self._calls.finish(), out)
            asked = self._calls.found and chunk.reason == "stop"
            out.append(msgspec.structs.replace(chunk, reason="tool_calls") if asked else chunk)
        else:
            out.append(chunk)

    def _give(self, pieces: list[Text | ToolCall], out: list[Chunk]) -> None:
        for piece in pieces:
            if isinstance(piece, Text):
                out.append(TextDelta(piece.text, self._index))
            else:
                arguments = encode_json(piece.arguments).decode()
                out.append(ToolDelta(self._index + 1, piece.id, piece.name, arguments))
                self._index += 2
