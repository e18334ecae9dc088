"""Code blocks of Dive's document, verbatim."""

BASIC = """
from core.llm_connection import LLMConnection, LLMRequest, CommunicationMode

# Initialize
llm = LLMConnection(
    provider='v98',  # or 'openai', 'anthropic', 'aicoding', etc.
    api_key='your-api-key'
)

# Make request
request = LLMRequest(
    model='claude-sonnet-4.5',
    messages=[{'role': 'user', 'content': 'Hello!'}],
    mode=CommunicationMode.HUMAN_AI
)

response = await llm.chat_completion(request)
print(response.content)
"""

CUSTOM = """
# Connect to any OpenAI-compatible API
llm = LLMConnection(
    base_url='https://custom-api.com/v1',
    api_key='custom-key'
)
"""

AGENTS = """
# For agent-to-agent communication
request = LLMRequest(
    model='claude-sonnet-4.5',
    messages=[{'role': 'user', 'content': 'Task data'}],
    mode=CommunicationMode.AI_AI  # 100x faster!
)
"""

ORCHESTRATOR = """
from core.llm_connection import LLMConnection

class DiveOrchestrator:
    def __init__(self):
        self.llm = LLMConnection(provider='v98')
    
    async def assign_task(self, task):
        # Use AI-AI mode for fast agent communication
        request = LLMRequest(
            model='claude-opus-4.5',
            messages=[{'role': 'user', 'content': task}],
            mode=CommunicationMode.AI_AI
        )
        return await self.llm.chat_completion(request)
"""

CODER = """
from core.llm_connection import LLMConnection

class DiveCoder:
    def __init__(self):
        self.llm = LLMConnection(provider='v98')
    
    async def generate_code(self, spec):
        request = LLMRequest(
            model='claude-sonnet-4.5',
            messages=[{'role': 'user', 'content': spec}],
            mode=CommunicationMode.HUMAN_AI
        )
        return await self.llm.chat_completion(request)
"""

CONFIG = """
# config/llm_connection.py
LLM_CONFIG = {
    'default_provider': 'v98',
    'default_model': 'claude-sonnet-4.5',
    'default_mode': CommunicationMode.HUMAN_AI,
    'timeout': 30,
    'max_retries': 3
}
"""
