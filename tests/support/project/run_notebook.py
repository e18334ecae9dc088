"""Run a notebook from its first cell to its last: `python run_notebook.py NOTEBOOK FOLDER SOCKETS`, which prints it.

`FOLDER`: where it runs. `SOCKETS`: a prefix of paths for the kernel's sockets. A process of its own, because the client
of Jupyter leaves sockets open.
"""

import sys

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

if __name__ == "__main__":
    path, folder, sockets = sys.argv[1:]
    notebook = nbformat.read(path, as_version=4)
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=sockets)
    NotebookClient(notebook, km=kernel, timeout=60, resources={"metadata": {"path": folder}}).execute()
    sys.stdout.write(nbformat.writes(notebook))
