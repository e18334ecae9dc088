"""The page that shows a bus, or a recording, in a browser."""
