"""Kept prompts: states of finished prompts in host memory and on disk, so that they are not computed again.

`state` cuts llama.cpp's states by tokens and puts them together again, `index` knows which piece has which tokens,
`files` is the format of a piece on disk, `folder` the folder of such files, and `prompts` joins them on two threads.
Nothing here knows llama.cpp itself, the scheduler, or the engine.
"""
