"""Hugging Face models of this computer, run by transformers in a worker process: `hf:PATH` or `hf:OWNER/NAME`.

`folder`, `options` and `download` run in the program and import neither of the two. All else runs in the worker.
"""
