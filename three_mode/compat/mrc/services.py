"""Services of MRC's document around `LLMCommunication`."""

from collections.abc import Mapping
from typing import Any

from three_mode.compat.mrc.communication import LLMCommunication


class SimpleLLMService:
    """The service that MRC had before, over `LLMCommunication`."""

    llm_comm: LLMCommunication  #: who answers

    def __init__(self) -> None:
        self.llm_comm = LLMCommunication()

    def llm_call(self, prompt: str) -> str:
        """The text of the answer to one prompt."""
        return self.llm_comm.generate_text(prompt)

    def simple_llm(self, prompt: str, model: str | None = None, max_tokens: int | None = None) -> str:
        """The same, of a model and of so many tokens."""
        return self.llm_comm.generate_text(prompt, model=model, max_tokens=max_tokens)


class SimpleLLMManager(SimpleLLMService):
    """The same service over an `LLMCommunication` that others have too."""

    def __init__(self, llm_comm: LLMCommunication) -> None:
        self.llm_comm = llm_comm


class ServiceFactory:
    """Makes the services."""

    def create_llm_service(self, config: Mapping[str, Any] | None = None) -> LLMCommunication:
        """A communication with these arguments."""
        return LLMCommunication(**dict(config or {}))

    def create_llm_manager(self) -> SimpleLLMManager:
        """A manager with a communication of its own."""
        return SimpleLLMManager(self.create_llm_service())
