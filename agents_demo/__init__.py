"""Small programs with one idea each: `python -m agents_demo NAME`."""
