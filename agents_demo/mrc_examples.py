"""Ask models by MRC's names: text, switches of provider, streams, errors, settings, services, each an example."""

import logging
from typing import Any

from rich.console import Console

from agents_demo._scripted import scripted_providers
from three_mode.compat.mrc import (
    AuthenticationException,
    LLMCommunication,
    LLMException,
    LLMResponse,
    ProviderConfig,
    RateLimitException,
    RequestTracker,
    ServiceFactory,
    SimpleLLMService,
)
from three_mode.testing import Answer, ScriptedProvider, Turn, rate_limited

MESSAGES = [{"role": "user", "content": "Tell me a story in three words."}]
console = Console(highlight=False)


class Told:
    """Tracker that keeps timings, as a program's own log would."""

    def __init__(self) -> None:
        self.request_tracker = RequestTracker()

    def log_request_start(self, request_id: str, provider: str, messages: Any) -> None:
        console.print(f"  tracker: a request of {len(messages)} message")

    def log_response_success(self, request_id: str, response: LLMResponse) -> None:
        self.request_tracker.record_timing(
            request_id, response.response_time, response.provider, response.usage.total_tokens
        )

    def log_error(self, request_id: str, error: Exception, context: dict[str, Any]) -> None:
        console.print(f"  tracker: {type(error).__name__}")

    def log_provider_switch(self, from_provider: str, to_provider: str, reason: str) -> None:
        console.print(f"  tracker: from {from_provider} to {to_provider}")


def example_basic_usage(server: ScriptedProvider) -> None:
    """Basic text generation."""
    with LLMCommunication() as llm:
        console.print(f"  text: {llm.generate_text('Hello!')}")
        response = llm.generate_response(MESSAGES)
        console.print(f"  {response.provider} answered with {response.usage.to_dict()['total_tokens']} tokens")
        console.print(f"  in the old format: {sorted(response.to_legacy_format())}")


def example_provider_selection(server: ScriptedProvider) -> None:
    """Provider selection and switching."""
    with LLMCommunication("anthropic") as llm:
        console.print(f"  available: {llm.manager.detect_available_providers()}")
        for name in ("openai", "anthropic", "nobody"):
            switched = llm.switch_provider(name)
            console.print(f"  switched to {name}: {switched}; {llm.generate_response(MESSAGES).provider} answers")


def example_streaming(server: ScriptedProvider) -> None:
    """Streaming."""
    with LLMCommunication("openai") as llm:
        pieces = list(llm.generate_stream(MESSAGES))
        console.print(f"  {len(pieces)} pieces: {pieces}")


def example_error_handling(server: ScriptedProvider) -> None:
    """Error handling and fallback."""
    with LLMCommunication(tracker=Told()) as llm:
        llm.generate_text("Who is there?")
        server.always(lambda seen: Answer(status=500) if "messages" in seen.path else Turn())
        console.print(f"  the first provider fails, and {llm.generate_response(MESSAGES).provider} answers")
        llm.switch_provider("openai")
        failures = {AuthenticationException: Answer(status=401), RateLimitException: rate_limited(seconds=99)}
        for kind, answer in failures.items():
            server.always(answer)
            try:
                llm.generate_response(MESSAGES, within=2)
            except kind as error:
                console.print(f"  caught {kind.__name__}; an LLMException too: {isinstance(error, LLMException)}")


def example_configuration(server: ScriptedProvider) -> None:
    """Configuration: the environment, `.env`, and arguments."""
    config = ProviderConfig.from_env("openai")
    console.print(f"  from example.env: {config.model}, {config.max_tokens} tokens, {config.timeout:g} s")
    with LLMCommunication("openai", model="gpt-4o", temperature=0.1, max_tokens=50) as llm:
        llm.generate_text("Hello!")
        sent = server.seen[-1].json
        console.print(f"  sent: {sent['model']}, temperature {sent['temperature']}")
    with LLMCommunication(model="tiny", temperature=0.0) as llm:
        console.print(f"  a model of this computer: {llm.generate_text('What is 21 + 34?')}")


def example_integration(server: ScriptedProvider) -> None:
    """Integration with an existing system: the old service, a factory, a tracker."""
    service, told = SimpleLLMService(), Told()
    console.print(f"  SimpleLLMService: {service.llm_call('Hello!')}")
    service.llm_comm.close()
    manager = ServiceFactory().create_llm_manager()
    console.print(f"  SimpleLLMManager: {manager.simple_llm('Hello!', max_tokens=20)}")
    manager.llm_comm.close()
    with LLMCommunication(tracker=told) as llm:
        llm.generate_response(MESSAGES)
        console.print(f"  tracker: {told.request_tracker.timings[-1].tokens_used} tokens")
        console.print(f"  p95 within 2 s: {llm.performance.get_95th_percentile_response_time() <= 2.0}")
        console.print(f"  health: {llm.health_check()['status']}")


EXAMPLES = (
    example_basic_usage,
    example_provider_selection,
    example_streaming,
    example_error_handling,
    example_configuration,
    example_integration,
)


def main(words: list[str]) -> None:
    logging.getLogger("three_mode").setLevel(logging.ERROR)  # what fails here is meant to
    with scripted_providers("OPENAI", "ANTHROPIC") as server:
        for example in EXAMPLES:
            console.print(f"[bold]{example.__doc__}[/bold]")
            server.always(Turn())
            example(server)
    console.print(f"{len(EXAMPLES)} examples ran")
