"""Code blocks of OpenHands' document, verbatim."""

CONFIGURATION = """
# Example configuration
llm_config = LLMConfig(
    model="gpt-4",
    api_key="your-api-key",
    temperature=0.7,
    max_output_tokens=4096,
    native_tool_calling=True,
    caching_prompt=True,
    num_retries=3
)
"""

BASIC = """
from openhands.llm.llm import LLM
from openhands.core.config import LLMConfig

# Initialize LLM
config = LLMConfig(model="gpt-4")
llm = LLM(config=config, service_id="main")

# Make completion
response = llm.completion(
    messages=[{"role": "user", "content": "Hello!"}]
)
"""

ASYNC = """
from openhands.llm.async_llm import AsyncLLM

async_llm = AsyncLLM(config=config, service_id="async")
response = await async_llm.async_completion(
    messages=[{"role": "user", "content": "Hello!"}]
)
"""

STREAMING = """
from openhands.llm.streaming_llm import StreamingLLM

streaming_llm = StreamingLLM(config=config, service_id="stream")
async for chunk in streaming_llm.async_streaming_completion(
    messages=[{"role": "user", "content": "Tell me a story"}]
):
    print(chunk['choices'][0]['delta'].get('content', ''), end='')
"""
