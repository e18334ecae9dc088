"""Every value of ours comes back from its message of gRPC as it was; and what does not fit is an error with a field."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import values
from three_mode.errors import InvalidRequest
from three_mode.grpc_messages import convert
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, Message, Step, ToolResult, Usage


def there_and_back(write, read, value):
    """Through the bytes, which is what travels."""
    message = write(value)
    return read(type(message).FromString(message.SerializeToString()))


def with_parts(messages):
    """An empty tuple of parts of a result is the empty text; the messages of gRPC have one word for both."""
    parts = [part for message in messages if isinstance(message.content, tuple) for part in message.content]
    return not any(isinstance(part, ToolResult) and part.content == () for part in parts)


requests = st.builds(
    lambda request, provider, within: msgspec.structs.replace(request, provider=provider, within=within),
    values.requests,
    st.none() | values.names,
    st.none() | st.floats(0.001, 1e6),
).filter(lambda request: with_parts(request.messages))


@given(requests)
def test_requests(request):
    assert there_and_back(convert.write_request, convert.read_request, request) == request


@given(values.responses)
def test_answers(response):
    message = convert.write_response(response)
    assert (message.content, message.model, message.tokens_used) == (
        response.content,
        response.model,
        response.usage.total_tokens,
    )
    assert there_and_back(convert.write_response, convert.read_response, response) == response


@given(values.chunks, st.lists(values.steps, max_size=2))
def test_chunks(chunk, steps):
    if hasattr(chunk, "steps"):
        chunk = msgspec.structs.replace(chunk, steps=tuple(steps))
    assert there_and_back(convert.write_chunk, convert.read_chunk, chunk) == chunk


@given(values.tool_results.filter(lambda result: result.content != ()))
def test_results_of_tools(result):
    assert there_and_back(convert.write_tool_result, convert.read_tool_result, result) == result


@given(values.messages.filter(lambda message: with_parts([message])))
def test_messages(message):
    assert there_and_back(convert.write_message, convert.read_message, message) == message


@given(
    st.builds(
        EmbedRequest,
        texts=st.lists(values.words, min_size=1, max_size=3),
        model=st.none() | values.names,
        dimensions=st.none() | st.integers(1, 4096),
        within=st.none() | st.floats(0.001, 1e6),
        extra=values.json_objects,
    )
)
def test_requests_for_vectors(request):
    assert there_and_back(convert.write_embed_request, convert.read_embed_request, request) == request


vectors = st.lists(st.lists(st.floats(allow_nan=False), max_size=4).map(tuple), max_size=3).map(tuple)


@given(st.builds(Embedded, vectors, values.words, values.usages, values.words))
def test_vectors(embedded):
    assert there_and_back(convert.write_embedded, convert.read_embedded, embedded) == embedded


@pytest.mark.parametrize("prompt", ["Once upon", "", (1, 2, 3), (0,)])
def test_bare_prompts_and_tokens(prompt):
    request = LLMRequest(prompt=prompt, temperature=0.5)
    assert there_and_back(convert.write_request, convert.read_request, request) == request
    embed = EmbedRequest(tokens=((1, 2), (3,)))
    assert there_and_back(convert.write_embed_request, convert.read_embed_request, embed) == embed
    with pytest.raises(InvalidRequest):
        convert.read_request(pb.ChatRequest(prompt=pb.Prompt()))
    with pytest.raises(InvalidRequest):
        convert.read_request(pb.ChatRequest(prompt=pb.Prompt(tokens=pb.Tokens(tokens=[-1]))))


def test_every_field_of_ours_has_one_there():
    """A field that is new in the product is new in the schema too, or this fails."""
    pairs = {
        LLMRequest: pb.ChatRequest,
        Message: pb.Message,
        Usage: pb.Usage,
        Step: pb.Step,
        ToolResult: pb.ToolResult,
        EmbedRequest: pb.EmbedRequest,
        Embedded: pb.EmbedResponse,
        values.LLMResponse: pb.ChatResponse,
        values.Tool: pb.Tool,
        values.ToolCall: pb.ToolCall,
        values.Text: pb.Text,
        values.Image: pb.Image,
        values.Thinking: pb.Thinking,
        values.Reasoning: pb.Reasoning,
        values.ResponseFormat: pb.ResponseFormat,
        values.CacheHints: pb.CacheHints,
        values.Finish: pb.Finish,
    }
    for ours, theirs in pairs.items():
        assert set(ours.__struct_fields__) <= set(theirs.DESCRIPTOR.fields_by_name), ours


@pytest.mark.parametrize("temperature", [0.0, 0.1, 0.7, 1.0, 0.123456789012345, 1e300])
def test_a_temperature_is_what_was_written(temperature):
    request = LLMRequest(messages=[{"role": "user", "content": "x"}], temperature=temperature)
    assert there_and_back(convert.write_request, convert.read_request, request).temperature == temperature


def test_a_client_of_the_older_schema_writes_its_temperature_as_a_float():
    message = pb.ChatRequest(messages=[pb.Message(role="user", content="x")], temperature=0.7)
    assert convert.read_request(message).temperature == 0.7


USER = pb.Message(role="user", content="x")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.ChatRequest(), "messages"),
        (pb.ChatRequest(messages=[USER], extra="{"), "extra"),
        (pb.ChatRequest(messages=[USER], extra="[1]"), "extra"),
        (pb.ChatRequest(messages=[USER], mode=99), "mode"),
        (pb.ChatRequest(messages=[USER], top_p=2), "top_p"),
        (pb.ChatRequest(messages=[USER], max_tokens=0), "max_tokens"),
        (pb.ChatRequest(messages=[USER], within=float("nan")), "within"),
        (pb.ChatRequest(messages=[USER], cache=pb.CacheHints(response="often")), "response"),
        (pb.ChatRequest(messages=[USER, pb.Message(content="x")]), "messages[1].role"),
        (pb.ChatRequest(messages=[pb.Message(role="user", parts=[pb.Part()])]), "messages[0].parts"),
    ],
)
def test_what_does_not_fit_names_its_field(message, field):
    with pytest.raises(InvalidRequest) as caught:
        convert.read_request(message)
    assert caught.value.field == field


def test_a_number_that_is_too_large_for_the_schema_names_its_field():
    request = LLMRequest(messages=[{"role": "user", "content": "x"}], seed=2**70)
    with pytest.raises(InvalidRequest) as caught:
        convert.write_request(request)
    assert caught.value.field == "seed"
