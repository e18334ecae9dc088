"""Address, check, encode and fold requests and replies: the values that every mode shares, without any model."""

from rich.console import Console

from three_mode import Chunk, CommunicationMode, LLMRequest, LLMResponse, ThreeModeError, fold
from three_mode.messages import Finish, TextDelta, Usage, UsageUpdate, from_msgpack, to_msgpack
from three_mode.modes import resolve

ADDRESSES = ("gpt-5.1", "https://host/v1", "agent:brain", "gguf:models/tiny.gguf")


def main(words: list[str]) -> None:
    console = Console()
    console.print("[bold]an address says its mode[/bold]")
    for address in ADDRESSES:
        mode, name = resolve(address)
        console.print(f"  {address:24} -> {mode.name:9} {name}")

    request = LLMRequest(model="agent:brain", messages=[{"role": "user", "content": "Hello!"}], within=2.0)
    frame = to_msgpack(request)
    console.print(f"\n[bold]a request[/bold] is {len(frame)} bytes of msgpack, and the same after the trip:", end=" ")
    console.print(from_msgpack(LLMRequest, frame) == request)

    console.print("\n[bold]what cannot be right[/bold] is refused before it is sent, by the name of the field")
    for wrong in (
        {"messages": [{"role": "robot", "content": "Hello!"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "txt": "Hello!"}]}]},
        {
            "model": "agent:brain",
            "mode": CommunicationMode.AI_PC,
            "messages": [{"role": "user", "content": "Hello!"}],
        },
    ):
        try:
            made = LLMRequest(**wrong)
            resolve(made.model or "", made.mode or CommunicationMode.AUTO)
        except ThreeModeError as error:
            console.print(f"  {getattr(error, 'field', '')}: {error}", soft_wrap=True)

    chunks: list[Chunk] = [TextDelta("Good "), TextDelta("morning."), UsageUpdate(Usage(9, 3)), Finish()]
    reply: LLMResponse = fold(chunks)
    console.print(f"\n[bold]a stream[/bold] of {len(chunks)} chunks folds into: {reply.content!r}, {reply.usage}")
