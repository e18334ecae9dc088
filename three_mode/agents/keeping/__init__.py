"""State worth keeping: snapshots of agents, which outlive their hosts."""
