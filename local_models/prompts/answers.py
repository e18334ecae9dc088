"""Parts of an answer as it comes: the reasoning, the text, and the calls of tools. Pure."""

import msgspec

from local_models.prompts.reasoning import ReasoningSplitter
from local_models.prompts.tools import ToolCallParser
from local_models.replies import Piece, Usage


class AnswerReader:
    """Takes the raw pieces of one answer and returns them in parts: those that it has a splitter or a parser for."""

    def __init__(self, reasoning: ReasoningSplitter | None, calls: ToolCallParser | None) -> None:
        self._reasoning, self._calls = reasoning, calls
        self._reasoning_tokens = 0

    def begins_inside(self) -> None:
        """Notes that the prompt has begun the reasoning."""
        if self._reasoning is not None:
            self._reasoning.inside = True

    def read(self, piece: Piece) -> Piece:
        """Returns a piece in parts; the last one has the calls."""
        cut, last = piece.finish == "length", piece.finish is not None
        thought, text = self._split(piece, cut, last)
        if self._calls is not None:
            text = self._calls.feed(text)
            if last:
                text += self._calls.end(cut=cut)
        if not last:
            return Piece(text=text, reasoning=thought, tokens=piece.tokens, scores=piece.scores)
        calls = tuple(self._calls.calls) if self._calls is not None else ()
        return Piece(
            text=text,
            reasoning=thought,
            tokens=piece.tokens,
            scores=piece.scores,
            finish="tool_calls" if calls and piece.finish == "stop" else piece.finish,
            usage=self._counted(piece.usage),
            tool_calls=calls,
        )

    def _split(self, piece: Piece, cut: bool, last: bool) -> tuple[str, str]:
        splitter = self._reasoning
        if splitter is None:
            return "", piece.text
        before = splitter.inside
        thought, text = splitter.feed(piece.text)
        if before or splitter.inside or thought:
            self._reasoning_tokens += len(piece.tokens)
        if last:
            rest, more = splitter.end(cut=cut)
            thought, text = thought + rest, text + more
        return thought, text

    def _counted(self, used: Usage | None) -> Usage | None:
        """The usage with the tokens of the reasoning, its marks included."""
        if used is None or not self._reasoning_tokens:
            return used
        counted: Usage = msgspec.structs.replace(used, reasoning_tokens=self._reasoning_tokens)
        return counted
