"""Agent of the benchmark of MCP: it has the tool that the peers' servers have."""

from three_mode import Agent, handler


class Weather(Agent):
    """Agent that does so little that the call to it is measured."""

    @handler(tool=True)
    async def forecast(self, city: str, days: int = 1) -> str:
        """The weather of the next days."""
        return f"{city}: {days} days of sun"
