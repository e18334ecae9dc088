"""The documentation site: what its build refuses, and that it shows every public package."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the group `docs` is not installed: python3 scripts/venv.py docs")

ROOT = Path(__file__).resolve().parents[3]
CONF = f"""
import sys
sys.path[:0] = [{str(ROOT / "docs" / "extension")!r}, "."]
from public_names import FOREIGN_BASES
extensions = ["public_names"]
html_theme = "basic"
myst_heading_anchors = 3
autodoc_default_options = {{"undoc-members": True, "inherited-members": FOREIGN_BASES}}
public_packages = ["toy", "toy.inner"]
option_classes = ["*Options"]
"""
INDEX = """# Toy

```{toctree}
guide
```

```{eval-rst}
.. public-names:: toy
.. public-names:: toy.inner
```
"""
INNER = '''"""Where the code is."""
from toy.inner.options import LIMIT, PartOptions
__all__ = ["LIMIT", "PartOptions"]
'''
GOOD = {
    "README.md": "# Read me\n\n## Install\n",
    "docs/guide.md": """# Guide

Back to [the start](index.md), or [further down](#further). A document [beyond the site](../README.md#install).

## Further

The end.
""",
    "toy/__init__.py": '''"""A package."""
from toy.inner import PartOptions
__all__ = ["Thing", "PartOptions"]


class _Base:
    def inherited(self) -> int:
        """Words of a base class that is not public count."""
        return 1


class Thing(_Base):
    """Something with *words* and `code`, and an indented example:

        thing = Thing()
    """

    def do(self, options: PartOptions) -> "Thing":
        """Does it."""
        return self
''',
    "toy/inner/options.py": '''"""Options."""
from dataclasses import dataclass

LIMIT = 5  #: a constant has words too


@dataclass(frozen=True)
class PartOptions:
    """The docstring names `width`; the other field has words of its own."""

    width: int = 1
    height: int = 1  #: in metres
''',
}
# What is broken -> the file, what stands there, what comes instead, and what the build says.
FAULTS = {
    "a link to no file": (
        "docs/guide.md",
        "(index.md)",
        "(nowhere.md)",
        "cross-reference target not found: 'nowhere.md'",
    ),
    "a link to no heading": (
        "docs/guide.md",
        "(#further)",
        "(#nearer)",
        "'myst' cross-reference target not found: 'nearer'",
    ),
    "a link to no heading beyond the site": (
        "docs/guide.md",
        "md#install",
        "md#remove",
        "no such heading: README.md#remove",
    ),
    "a class": ("toy/__init__.py", '"""Something with', '_ = """Something with', "undocumented public name: toy.Thing"),
    "a method": ("toy/__init__.py", '"""Does it."""', "", "undocumented public name: toy.Thing.do"),
    "an inherited method": ("toy/__init__.py", '"""Words', 'text = """Words', "public name: toy.Thing.inherited"),
    "an option": ("toy/inner/options.py", "  #: in metres", "", "public name: toy.inner.PartOptions.height"),
    "a constant": ("toy/inner/options.py", "  #: a constant", "  # a constant", "public name: toy.inner.LIMIT"),
}


def build(folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in {"docs/conf.py": CONF, "docs/index.md": INDEX, "toy/inner/__init__.py": INNER, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "docs", "site"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=110)


def test_a_site_without_faults_is_built_and_shows_what_is_public(tmp_path: Path) -> None:
    done = build(tmp_path, GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    shown = (tmp_path / "site" / "index.html").read_text()
    for name in ("toy.Thing", "toy.Thing.do", "toy.Thing.inherited", "toy.inner.PartOptions.height", "toy.inner.LIMIT"):
        assert f'id="{name}"' in shown, name
    assert 'id="toy.PartOptions"' not in shown  # it is documented where it belongs, once
    assert 'href="#toy.inner.PartOptions"' in shown
    assert "<em>words</em>" in shown  # docstrings are Markdown


def test_a_broken_link_and_an_undocumented_public_name_fail_the_build(tmp_path: Path) -> None:
    files = dict(GOOD)
    for name, before, after, _ in FAULTS.values():
        assert before in files[name]
        files[name] = files[name].replace(before, after)
    done = build(tmp_path, files)
    assert done.returncode != 0
    for fault, (_, _, _, said) in FAULTS.items():
        assert said in done.stderr, fault


def test_a_public_name_that_no_page_shows_fails_the_build(tmp_path: Path) -> None:
    done = build(tmp_path, {**GOOD, "docs/index.md": INDEX.replace(".. public-names:: toy.inner\n", "")})
    assert done.returncode != 0
    assert "public name on no page of the reference: toy.inner.LIMIT" in done.stderr


def test_every_public_package_has_a_page() -> None:
    public = runpy.run_path(str(ROOT / "docs" / "conf.py"))["public_packages"]
    pages = {page.stem: page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")}
    assert set(pages) == {package.replace(".", "-").replace("_", "-") for package in public}
    for package in public:
        assert f".. public-names:: {package}\n" in pages[package.replace(".", "-").replace("_", "-")]
