"""llama.cpp's server, of the package xllamacpp: run by the Python of its own environment, with flags of llama-server.

build/peers/llama-server/bin/python benchmarks/_llama_server.py -m FILE -np 16 -c 8192 --port 8080 [-t 2] [-b 512]
"""

import argparse
import signal
from importlib import import_module
from typing import Any


def main() -> None:
    """Serves until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="model", required=True)
    parser.add_argument("-np", dest="slots", type=int, required=True)
    parser.add_argument("-c", dest="context", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("-t", dest="threads", type=int)
    parser.add_argument("-b", dest="batch", type=int)
    parser.add_argument("-ub", dest="piece", type=int)
    chosen = parser.parse_args()
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = chosen.model
    params.n_parallel, params.n_ctx, params.port = chosen.slots, chosen.context, chosen.port
    params.n_gpu_layers = 0
    if chosen.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = chosen.threads
    if chosen.batch:
        params.n_batch = chosen.batch
    if chosen.piece:
        params.n_ubatch = chosen.piece
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
