"""`Converse`: turns, results of tools and cancels come while chunks go."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing

from three_mode.errors import InvalidRequest, ModeUnavailable, Overloaded, ThreeModeError
from three_mode.grpc_messages import convert
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.grpc_messages.errors import write_detail
from three_mode.messages import Finish, Folding, LLMRequest
from three_mode.serve.asgi import Refused
from three_mode.serve.chat import UNREAD
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import in_words
from three_mode.serve.narration import Narration
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.dialogue import Dialogue
from three_mode.serve.surfaces.grpc.models import check_model
from three_mode.serve.watching import Disconnected
from transports.grpc import GrpcError, GrpcStatus

WAITING = 64  # inputs that may wait while an answer is made


class Inbox:
    """Inputs that came and were not looked at. A cancel overtakes them, and so does the end of the call."""

    def __init__(self, most_bytes: int) -> None:
        self._inputs: deque[pb.ConverseInput] = deque()
        self._bytes, self._most_bytes = 0, most_bytes
        self._ready = asyncio.Event()
        self._over = False
        self.failure: BaseException | None = None
        self.interrupt: Callable[[], None] | None = None  # ends the answer that is being made

    def put(self, item: pb.ConverseInput) -> None:
        if item.HasField("cancel"):
            if self.interrupt is not None:
                self.interrupt()
            return
        self._bytes += item.ByteSize()
        if len(self._inputs) >= WAITING or self._bytes > self._most_bytes:
            limits = f"{WAITING} inputs and {self._most_bytes} bytes"
            raise GrpcError(GrpcStatus.RESOURCE_EXHAUSTED, f"at most {limits} wait for their turn")
        self._inputs.append(item)
        self._ready.set()

    def end(self) -> None:
        """The client has no more of them: what waits is still looked at."""
        self._over = True
        self._ready.set()

    def fail(self, failure: BaseException) -> None:
        """The call ends, with what is being made."""
        self.failure = self.failure or failure
        self._ready.set()
        if self.interrupt is not None:
            self.interrupt()

    async def get(self) -> pb.ConverseInput | None:
        """The next input; None after the last. The failure of the call is raised here."""
        while True:
            if self.failure is not None:
                raise self.failure
            if self._inputs:
                item = self._inputs.popleft()
                self._bytes -= item.ByteSize()
                return item
            if self._over:
                return None
            self._ready.clear()
            await self._ready.wait()


class Converse:
    """Answers one call."""

    def __init__(self, endpoint: EndpointState, call: GrpcCall) -> None:
        self._endpoint, self._call = endpoint, call
        self._inbox = Inbox(endpoint.options.max_body)
        self._kept = 0  # bytes of the conversation that the endpoint counts

    async def run(self) -> None:
        """Until the client has no more to say and all of it is answered."""
        reading = asyncio.create_task(self._read())
        self._endpoint.at_drain.add(self._going_down)
        try:
            await self._talk()
        finally:
            self._endpoint.at_drain.discard(self._going_down)
            self._endpoint.keep(-self._kept)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with aclosing(self._call.messages()) as messages:
                async for data in messages:
                    self._inbox.put(pb.ConverseInput.FromString(data))
            self._inbox.end()
            await self._call.gone()
            self._inbox.fail(Disconnected())
        except TimeoutError:
            self._inbox.fail(GrpcError(GrpcStatus.DEADLINE_EXCEEDED, "the conversation has lasted as long as it may"))
        except Exception as error:  # noqa: BLE001  (whatever it is, it is raised where the call is answered)
            self._inbox.fail(error)

    def _going_down(self) -> None:
        """An answer that is being made may end; nothing more is waited for."""
        self._inbox.failure = ModeUnavailable("the endpoint is shutting down", retryable=True, retry_after=1.0)
        self._inbox.end()

    async def _talk(self) -> None:
        first = await self._inbox.get()
        if first is None or not first.HasField("open"):
            raise InvalidRequest("the first input opens the conversation", field="open", hint="open: a ChatRequest")
        check_model(self._call, first.open.model)
        options = self._endpoint.options
        dialogue = Dialogue(first.open, options.max_messages, options.max_body)
        within = first.open.within if first.open.HasField("within") else options.default_within
        answers = dialogue.begins_with_answer
        while True:
            self._keep(dialogue.bytes)
            if answers:
                await self._answer(dialogue, min(within, self._call.left()))
            item = await self._inbox.get()
            if item is None:
                return
            try:
                answers = self._take(dialogue, item)
            except InvalidRequest as error:
                answers = False
                await self._tell_error(dialogue, error)

    def _keep(self, size: int) -> None:
        self._endpoint.keep(size - self._kept)
        self._kept = size

    @staticmethod
    def _take(dialogue: Dialogue, item: pb.ConverseInput) -> bool:
        kind = item.WhichOneof("kind")
        if kind == "say":
            return dialogue.say(convert.read_message(item.say), item.ByteSize())
        if kind == "tool_result":
            return dialogue.add_result(convert.read_tool_result(item.tool_result), item.ByteSize())
        raise InvalidRequest("an input says something, gives a result or cancels", field="kind")

    async def _answer(self, dialogue: Dialogue, within: float) -> None:
        """One answer, in a task of its own, so that a cancel ends it and not the call."""
        request = dialogue.request(within)
        folding = Folding()
        making = asyncio.create_task(self._make(dialogue.turn, request, folding))
        cancelled = False

        def interrupt() -> None:
            nonlocal cancelled
            cancelled = making.cancel() or cancelled

        self._inbox.interrupt = interrupt
        if self._inbox.failure is not None and not isinstance(self._inbox.failure, ModeUnavailable):
            interrupt()  # the client left before it began
        try:
            await making
        except asyncio.CancelledError:
            if not cancelled:  # the call itself
                making.cancel()
                await asyncio.gather(making, return_exceptions=True)
                raise
            dialogue.answered(folding.response(), whole=False)
            if self._inbox.failure is None:
                await self._call.write(_chunk(dialogue.turn, Finish("cancelled")))
        except ThreeModeError as error:
            dialogue.answered(folding.response(), whole=False)
            await self._tell_error(dialogue, error)
        else:
            dialogue.answered(folding.response(), whole=True)
        finally:
            self._inbox.interrupt = None

    async def _make(self, turn: int, request: LLMRequest, folding: Folding) -> None:
        endpoint = self._endpoint
        try:
            endpoint.admit()
        except Refused:
            raise Overloaded("the endpoint answers as much as it can", retry_after=1.0) from None
        assert endpoint.backend is not None
        assert request.within is not None
        told = Narration(endpoint.events, self._call.model)
        endpoint.hold(0)  # its bytes are counted as those of the conversation
        try:
            async with asyncio.timeout(request.within + UNREAD), endpoint.backend.stream(request) as chunks:
                async for chunk in chunks:
                    folding.add(chunk)
                    await self._call.write(_chunk(turn, chunk))
                    told.chunk(chunk)
                    if type(chunk) is Finish:
                        break
            endpoint.metrics.used(self._call.model, told.used)
        except BaseException as error:
            told.end(error)
            if isinstance(error, TimeoutError) and not isinstance(error, ThreeModeError):
                raise Disconnected("the client did not read its answer") from None
            raise
        finally:
            endpoint.release(0)
        told.end()

    async def _tell_error(self, dialogue: Dialogue, error: ThreeModeError) -> None:
        output = pb.ConverseOutput(turn=dialogue.turn, error=write_detail(error, in_words(error)))
        await self._call.write(output.SerializeToString())


def _chunk(turn: int, chunk: object) -> bytes:
    return pb.ConverseOutput(turn=turn, chunk=convert.write_chunk(chunk)).SerializeToString()  # type: ignore[arg-type]
