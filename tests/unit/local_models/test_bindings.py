"""llama_cpp's declarations come alone; all else of that package comes when somebody asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import sys
from local_models.llama.bindings import bindings
api = bindings()
heavy = ["numpy", "jinja2", "diskcache", "llama_cpp.llama"]
assert not [name for name in heavy if name in sys.modules], sys.modules.keys()
"""


def run(program: str, *path: str) -> str:
    start = f"import sys; sys.path[:0] = {[*path]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", start + program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "asks",
    [
        "from llama_cpp import Llama; assert Llama.__module__ == 'llama_cpp.llama'",
        "import llama_cpp; assert llama_cpp.Llama",
        "from llama_cpp import *; assert Llama",
        "import llama_cpp.llama; assert llama_cpp.llama.Llama",
        "import llama_cpp; assert llama_cpp.__version__[0].isdigit()",
    ],
)
def test_who_asks_for_the_package_gets_all_of_it(asks: str) -> None:
    run(f"{START}\n{asks}\nimport llama_cpp\nassert llama_cpp.Llama and llama_cpp.llama_decode is api.llama_decode")


def test_who_looks_at_all_modules_imports_nothing() -> None:
    look = "[getattr(module, '__warningregistry__', None) for module in list(sys.modules.values())]"
    run(f"{START}\n{look}\nassert 'llama_cpp.llama' not in sys.modules")


def test_what_is_not_there_is_told_as_always() -> None:
    error = "try:\n    from llama_cpp import nothing\nexcept ImportError as error:\n    print(error)"
    assert "cannot import name 'nothing' from 'llama_cpp'" in run(f"{START}\n{error}")


def test_many_threads_that_ask_at_once_wait_for_all_of_it() -> None:
    run(
        f"""{START}
import threading
found = []
def ask():
    import llama_cpp
    found.append(llama_cpp.Llama)
threads = [threading.Thread(target=ask) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 8 and len(set(found)) == 1
"""
    )


def test_a_package_that_was_imported_before_is_used_as_it_is() -> None:
    run("import llama_cpp\nfrom local_models.llama.bindings import bindings\nassert bindings() is llama_cpp.llama_cpp")


def test_a_package_that_does_not_import_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").write_text("whole = True\n")
    (tmp_path / "llama_cpp" / "llama_cpp.py").write_text("import no_such_module\n")
    program = """
from local_models.llama.bindings import bindings
try:
    bindings()
except ImportError as error:
    print(error.name)
assert "llama_cpp" not in sys.modules
"""
    assert run(program, str(tmp_path)) == "no_such_module"


def test_who_asks_again_for_a_package_that_does_not_import_is_told_why_again(tmp_path: Path) -> None:
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").write_text("import no_such_module\n")
    (tmp_path / "llama_cpp" / "llama_cpp.py").write_text("declared = True\n")
    program = """
from local_models.llama.bindings import bindings
assert bindings().declared
for _ in range(2):
    try:
        from llama_cpp import Llama
    except ImportError as error:
        print(error.name)
"""
    assert run(program, str(tmp_path)) == "no_such_module\nno_such_module"
