"""Of how many requests one is sampled: hosts agree on which ones, and no rhythm of an agent hides its requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from three_mode.agents.runtime.sampling import RequestSampling


@dataclass
class Asked:
    """A message, and the turns that wait for it."""

    chain: str = ""

    @property
    def trace(self) -> str:
        return f"t|{self.chain}" if self.chain else ""


class Unconnected:
    """A session that has no connection to models."""

    def when_llm(self, listen: Any) -> None:
        pass

    def no_more_llm(self, listen: Any) -> None:
        pass


@contextmanager
def sampling(rate: int) -> Iterator[RequestSampling]:
    found = RequestSampling(Unconnected())  # type: ignore[arg-type]
    found.asked(rate, 0.0)
    yield found
    found.close()


def takes(found: RequestSampling, agent: str, turn: int, chain: str = "") -> bool:
    return found.takes(agent, turn, Asked(chain))  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [1, 2, 3, 64])
def test_a_share_of_each_agents_requests_is_sampled_whichever_turns_begin_them(step: int) -> None:
    with sampling(16) as found:
        for agent in ("scout/0", "scout/1", "judge/77"):
            taken = sum(takes(found, agent, turn * step) for turn in range(4096))
            assert 4096 / 16 / 2 < taken < 4096 / 16 * 2


def test_all_hosts_agree_and_the_rarer_ones_are_among_the_others() -> None:
    with sampling(16) as here, sampling(16) as there, sampling(64) as rarer:
        for turn in range(500):
            mine = takes(here, "scout/1", turn)
            assert takes(there, "judge/0", 7, f"scout/1:{turn}>scout/2:9") is mine
            assert mine or not takes(rarer, "scout/1", turn)


def test_a_chain_that_does_not_name_a_turn_is_no_failure() -> None:
    with sampling(1) as found:
        assert takes(found, "judge/0", 7, "nonsense")
        assert takes(found, "judge/0", 7, "scout/1:²")
