"""Names of before: each still works, and says which one it is now."""

import pytest

from three_mode import LLMConnection, errors, observe, policies
from three_mode.agents.wire.importing import ClassPath, load
from three_mode.channels import RemoteChannel
from three_mode.hosted_model import HostedModel


@pytest.mark.parametrize(
    ("package", "old", "new"),
    [(policies, "Call", "CallContext"), (policies, "Ledger", "SpendingLedger"), (observe, "Recorder", "RecordWriter")],
)
def test_a_renamed_class(package: object, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        found = getattr(package, old)
    assert found is getattr(package, new)


def test_a_renamed_channel() -> None:
    from three_mode import channels

    with pytest.warns(DeprecationWarning, match="HumanAI is now RemoteChannel"):
        assert channels.HumanAI is RemoteChannel


def test_an_error_that_nothing_raises() -> None:
    with pytest.warns(DeprecationWarning, match=r"Evicted is raised by nothing: Agent\.missed gets"):
        assert issubclass(errors.Evicted, errors.AgentError)  # type: ignore[arg-type]
    assert "Evicted" not in errors.__all__


async def test_renamed_methods() -> None:
    async with LLMConnection("openai", api_key="k") as llm:
        with pytest.warns(DeprecationWarning, match="breaker_states"):
            assert llm.states() == {}
        with pytest.warns(DeprecationWarning, match="local_model"):
            assert await llm.local("gpt-5") is None


def test_recordings_name_the_hosted_model_by_its_old_path() -> None:
    assert load(ClassPath("three_mode.agents.model", "Model")) is HostedModel
    assert load(ClassPath("three_mode.agents.model", "Model", "somewhere/model.py")) is HostedModel
