"""Options of a node of a cluster: what is no label, no import path or no choice is refused at once."""

from typing import Any

import pytest

from three_mode.cluster import Cluster
from three_mode.cluster.core.frames import Offer
from three_mode.errors import ConfigurationError

URL = "nats://127.0.0.1:4222"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"labels": "gpu"}, "labels are several texts"),
        ({"labels": ("a b",)}, "'a b' is no label"),
        ({"allow": "mypackage"}, "allow are several texts"),
        ({"allow": ("my-package",)}, "'my-package' is no import path"),
        ({"allow": ("mypackage.",)}, "is no import path"),
        ({"allow": ("",)}, "'' is no import path"),
        ({"allow": (7,)}, "allow are several texts"),
        ({"alone": "wait"}, "alone is one of keep, pause, stop, not 'wait'"),
    ],
)
def test_what_does_not_fit_is_refused(option: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Cluster.of(Cluster(URL, **option))


def test_an_offer_has_labels_hosts_and_what_is_allowed() -> None:
    given = Cluster.of(Cluster(URL, labels=("gpu",), allow=("mypackage", "other.agents")))
    assert given.offer(4) == Offer(("gpu",), 4, ("mypackage", "other.agents"))
    assert Cluster(URL).offer(0) == Offer((), 1, ())
