"""A server on grpc.aio with our schema, in a process of its own: an echo, and as many chunks as are asked for."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVICE = "three_mode.v1.LLMService"
WORD = "word "


@dataclass(frozen=True)
class GrpcServer:
    """Server, by its port and its process."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time so far, of all threads of the process, user and kernel."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3), which Python lacks


@contextmanager
def grpcio_server() -> Iterator[GrpcServer]:
    """Runs the server."""
    command = [sys.executable, "-m", "benchmarks._grpc_server"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield GrpcServer(int(process.stdout.readline()), process.pid)
    finally:
        process.kill()
        process.communicate()


async def main() -> None:
    """Serves until the process is killed."""
    import grpc
    import grpc.aio

    from three_mode.grpc_messages import llm_pb2 as pb

    async def chat_completion(request: Any, context: Any) -> Any:
        usage = pb.Usage(input_tokens=3, output_tokens=4)
        return pb.ChatResponse(content=request.messages[-1].content, model="echo", tokens_used=7, usage=usage)

    async def streaming_chat(request: Any, context: Any) -> AsyncIterator[Any]:
        for _ in range(request.max_tokens):
            yield pb.ChatChunk(content=WORD)

    def written(message: Any) -> bytes:
        data: bytes = message.SerializeToString()
        return data

    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    read = pb.ChatRequest.FromString
    methods = {
        "ChatCompletion": unary(chat_completion, request_deserializer=read, response_serializer=written),
        "StreamingChat": stream(streaming_chat, request_deserializer=read, response_serializer=written),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
