"""The caller's side: references to agents, and the verbs that go through them."""
