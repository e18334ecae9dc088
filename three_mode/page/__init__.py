"""The page to watch, replay and steer agents: what it shows of a bus or a recording, and its static files.

It knows no HTTP: `three_mode.serve` answers its addresses and its WebSocket.

    feed      the views that somebody looks at, and nothing else
    readers   a bounded queue for each page; a slow one loses the oldest and is told `gap`
    system    what the orchestrator and the hosts of a bus say
    session   cookies that stand for a key
"""
