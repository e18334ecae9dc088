"""An open reply whose account is closed when it ends, once: however it ends, and however many read it."""

from collections.abc import Callable

from three_mode.channels.channel import OpenReply
from three_mode.messages import Chunk, Finish, TextDelta, ThinkingDelta, ToolDelta, Usage, UsageUpdate
from three_mode.policies import Target
from three_mode.providers.estimate import estimate_text


class Accounted:
    """`ended` is told what was used, as the provider counted it or as an estimate of what came; whether it came to its end; and the
    error, if one ended it."""

    def __init__(
        self,
        opened: OpenReply,
        target: Target,
        asked: Callable[[], int],
        ended: Callable[[Usage, bool, BaseException | None], None],
    ) -> None:
        """`asked` estimates the prompt's tokens."""
        self.target = target
        self._opened = opened
        self._asked = asked
        self._ended: Callable[[Usage, bool, BaseException | None], None] | None = ended
        self._usage: Usage | None = None
        self._written: list[str] = []

    async def more(self) -> list[Chunk]:
        try:
            batch = await self._opened.more()
        except Exception as error:
            self._broke_off(error)
            raise
        for chunk in batch:
            if type(chunk) is TextDelta:
                self._written.append(chunk.text)
            elif type(chunk) is ThinkingDelta:
                self._written.append(chunk.thinking)
            elif type(chunk) is UsageUpdate:
                self._usage = chunk.usage
            elif type(chunk) is Finish:
                self._end(self._usage or Usage(), True, None)
        return batch

    def close(self) -> None:
        self._opened.close()
        self._broke_off(None)

    def _broke_off(self, error: BaseException | None) -> None:
        """Where it did not come to its end, the provider may not have counted what it wrote."""
        usage = self._usage
        if usage is None or not usage.output_tokens:
            written = estimate_text("".join(self._written))
            usage = Usage(usage.input_tokens if usage else self._asked(), written)
        self._end(usage, False, error)

    def _end(self, usage: Usage, whole: bool, error: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(usage, whole, error)


def weight(chunk: Chunk) -> int:
    """About how many bytes a piece takes in memory."""
    if type(chunk) is TextDelta:
        return 100 + len(chunk.text)
    if type(chunk) is ThinkingDelta:
        return 100 + len(chunk.thinking) + len(chunk.redacted or "")
    return 100 + (len(chunk.arguments) if type(chunk) is ToolDelta else 200)
