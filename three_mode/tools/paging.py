"""Reading on in a result that was cut: a tool that a run offers once there is such a result."""

from three_mode.tools.arguments import UnfitArguments
from three_mode.tools.function import FunctionTool

READ_MORE = "read_more"


class ReadMore(FunctionTool):
    """Tool that reads on in results that were cut; it holds their whole texts, by the id of their call."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        super().__init__(self._read, name=READ_MORE)

    def add(self, call_id: str, text: str) -> None:
        """Keeps the text of one more result."""
        self._texts[call_id] = text

    async def _read(self, call_id: str, start: int) -> str:
        """Reads on in a result that was cut.

        call_id: id of the result, as its note says it
        start: number of characters to leave out
        """
        text = self._texts.get(call_id)
        if text is None:
            raise UnfitArguments(f"no result {call_id!r} was cut; there are: {', '.join(self._texts)}")
        if not 0 <= start < len(text):
            raise UnfitArguments(f"the result has {len(text)} characters: start is between 0 and {len(text) - 1}")
        return text[start:]


def read_on(call_id: str, start: int) -> str:
    """What the note in a cut result says about the rest."""
    return f'read on with {READ_MORE}(call_id="{call_id}", start={start})'
