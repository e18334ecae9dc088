"""The `claude` command as a provider: each call is a process, and leaving the call stops it."""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence

from three_mode.channels.channel import REPLY_BYTES, too_large
from three_mode.channels.replies import DecodedReply
from three_mode.errors import BadReply, ConfigurationError, DeadlineExceeded, LLMError
from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest, fold
from three_mode.providers.claude_cli import CLIDecoder, failed, invocation
from three_mode.providers.embeddings import unsupported
from three_mode.providers.profile import Profile
from three_mode.providers.reranking import unranked
from transports.process import ChildFailed, ChildLines, ChildOptions

AT_ONCE = 8  # processes of this kind side by side; each is a whole program
MODELS = ("opus", "sonnet", "haiku")  # the names that the command itself has for its models
# A session of the command inside another one, or a key for another account, must not leak into ours.
_NOT_INHERITED = ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT")


class CLIEndpoint:
    """`fetch` for a whole reply, `open` for one that streams."""

    def __init__(
        self,
        profile: Profile,
        command: Sequence[str] = ("claude",),
        options: ChildOptions | None = None,
        reply_bytes: int = REPLY_BYTES,
    ) -> None:
        self.profile = profile
        self.name = profile.name
        self._command = tuple(command)
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self._options = options or ChildOptions(environment=environment)
        self.reply_bytes = reply_bytes
        self._places = asyncio.Semaphore(AT_ONCE)
        self._open: set[CLIReply] = set()
        self._over = False

    async def close(self) -> None:
        """Stops what runs, and waits until it is gone."""
        self._over = True
        await asyncio.gather(*(reply.aclose() for reply in list(self._open)))

    async def fetch(self, request: LLMRequest, model: str, due: float, deadline: float) -> LLMResponse:
        reply = await self.open(request, model, due, deadline)
        chunks: list[Chunk] = []
        try:
            while batch := await reply.more():
                chunks += batch
        finally:
            await reply.aclose()
        return fold(chunks)

    async def embed(self, request: EmbedRequest, model: str, deadline: float) -> Embedded:
        raise unsupported(self.profile, model)

    async def rerank(self, request: RerankRequest, model: str, deadline: float) -> Reranked:
        raise unranked(self.profile, model)

    async def open(self, request: LLMRequest, model: str, due: float, deadline: float) -> "CLIReply":
        call = invocation(request, model, self.profile)
        program = self._program()
        stage = "first token" if due < deadline else "total"
        reply: CLIReply | None = None
        try:
            async with asyncio.timeout_at(min(due, deadline)):
                await self._places.acquire()
                child = ChildLines([program, *self._command[1:], *call.arguments], call.stdin, self._options)
                reply = CLIReply(self, child, model, deadline)
                self._open.add(reply)
                if self._over:
                    raise self.closed()
                await reply.begin()
        except TimeoutError:
            await _closed(reply)
            raise self.late(model, stage) from None
        except BaseException:
            await _closed(reply)
            raise
        return reply

    async def models(self, deadline: float) -> tuple[str, ...]:
        """The command lists none; its aliases always work. That it runs at all is what asking tells."""
        try:
            async with (
                asyncio.timeout_at(deadline),
                ChildLines([self._program(), *self._command[1:], "--version"], options=self._options) as child,
            ):
                async for _ in child:
                    pass
                status = await child.wait()
        except TimeoutError:
            raise self.late("", "total") from None
        except ChildFailed as error:
            raise failed(self.profile, str(error)) from None
        if status:
            raise failed(self.profile, child.stderr or "it does not run", status)
        return MODELS

    async def warm(self, within: float) -> None:
        await self.models(asyncio.get_running_loop().time() + within)

    def late(self, model: str, stage: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self.name}: the command did not answer in the time allowed",
            stage=stage,
            provider=self.name,
            model=model or None,
        )

    def closed(self) -> ConfigurationError:
        return ConfigurationError(f"{self.name}: this connection is closed", hint="make a new LLMConnection")

    def left(self, reply: "CLIReply") -> None:
        self._places.release()
        reply.when_gone(lambda: self._open.discard(reply))

    def _program(self) -> str:
        found = shutil.which(self._command[0], path=(self._options.environment or os.environ).get("PATH"))
        if found is None:
            raise ConfigurationError(
                f"the command {self._command[0]!r} is not on PATH",
                hint="install Claude Code, or choose another provider",
            )
        return found


class CLIReply(DecodedReply):
    """A reply from a running command."""

    def __init__(self, endpoint: CLIEndpoint, child: ChildLines, model: str, deadline: float) -> None:
        super().__init__(CLIDecoder(endpoint.profile))
        self._endpoint = endpoint
        self._child = child
        self._model = model
        self._deadline = deadline
        self._closed = False
        self._taken = 0  # bytes

    async def begin(self) -> None:
        try:
            await self._child.start()
        except ChildFailed as error:
            raise failed(self._endpoint.profile, str(error)) from None
        if self._closed:  # while it started
            raise self._endpoint.closed()
        await self._until_content()

    async def _read(self) -> list[Chunk]:
        if self._decoder.done:
            self._ended = True
            return []
        try:
            async with asyncio.timeout_at(self._deadline):
                line = await anext(self._child, None)
                if line is not None:
                    self._taken += len(line)
                    if self._taken > self._endpoint.reply_bytes:
                        raise too_large(self._endpoint.name, self._model, self._endpoint.reply_bytes)
                    return self._decoder.feed(line + b"\n")
                self._ended = True
                if self._closed:
                    raise self._endpoint.closed()
                batch = self._decoder.finish()
                if isinstance(self._decoder.error, BadReply):
                    self._decoder.error = await self._why()
                return batch
        except ChildFailed as error:
            raise failed(self._endpoint.profile, str(error)) from None
        except TimeoutError:
            raise self._endpoint.late(self._model, "total") from None

    async def _why(self) -> LLMError:
        """It ended without a result: its status and its last words say more than that."""
        status = await self._child.wait()
        said = self._child.stderr or f"it ended with {status} and said nothing"
        return failed(self._endpoint.profile, said, status)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._child.stop()
            self._endpoint.left(self)

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call back once the program behind a closed reply has ended, if one was started."""
        self._child.when_gone(call)

    async def aclose(self) -> None:
        self.close()
        await self._child.aclose()


async def _closed(reply: CLIReply | None) -> None:
    if reply is not None:
        await reply.aclose()
