"""Sphinx extension: an API reference built from `__all__`, which fails where a public name has no docstring.

    .. public-names:: three_mode.agents

documents every name in `__all__` of that package, and links those that a more specific package of `public_packages`
documents. Docstrings are read as Markdown, as the guides are. Types in signatures link to the public name of a class,
wherever its code is; a type that is not public stays plain text.

Configuration:

    public_packages   names of the packages whose `__all__` is the public API
    option_classes    patterns of class names: every field of these needs words
                      (of other classes, methods and properties do)
    undocumented_yet  patterns of names that may lack words for now
"""

import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from docutils import nodes
from docutils.statemachine import StringList
from docutils.utils import new_document
from mdit_py_plugins.anchors.index import slugify
from myst_parser.parsers.sphinx_ import MystParser
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

# Base classes of the standard library and of dependencies: their members are not repeated with each class that
# inherits.
FOREIGN = (BaseException, Exception, OSError, object, tuple, str, int, dict)
FOREIGN_BASES = ", ".join(
    [kind.__name__ for kind in FOREIGN] + ["Enum", "Formatter", "Generic", "Mapping", "Protocol", "Sequence", "Struct"]
)


def names_in(package: str) -> dict[str, Any]:
    """Every public name of a package with its value, also where the package imports it when it is first used."""
    module = import_module(package)
    found = {name: getattr(module, name) for name in module.__all__}
    vars(module).update(found)  # autodoc looks into the module's namespace
    for value in found.values():
        if isinstance(value, type):
            complete_annotations(value)
    return found


def complete_annotations(kind: type) -> None:
    """Imports what a class names in its annotations for type checkers alone: autodoc cannot show its signature
    otherwise."""
    namespace = vars(sys.modules[kind.__module__])
    for _ in range(50):  # one name at a time is missed
        try:
            get_type_hints(kind)
            return
        except NameError as error:
            top_level = kind.__module__.partition(".")[0]
            loaded = [vars(module) for path, module in sys.modules.items() if path.partition(".")[0] == top_level]
            name = str(error.name)
            namespace[name] = next((names[name] for names in loaded if name in names), Any)


def is_data(value: Any) -> bool:
    """Whether a value is a constant or an alias of a type: no class, function or module."""
    return not (isinstance(value, type | ModuleType) or inspect.isroutine(value))


def identity(name: str, value: Any) -> str:
    """Identity of a public value in any package: the place of its code, as signatures name it."""
    if isinstance(value, ModuleType):
        return value.__name__
    return f"{name} {id(value)}" if is_data(value) else f"{value.__module__}.{value.__qualname__}"


class PublicNames:
    """The public API: the names of each package, and the one full name under which each value is documented."""

    def __init__(self, packages: list[str]) -> None:
        self.packages = {package: names_in(package) for package in packages}
        self.aliases: dict[str, str] = {}
        for package in sorted(packages, key=lambda name: name.count(".")):
            for name, value in self.packages[package].items():  # a deeper package comes later, and wins
                self.aliases[identity(name, value)] = f"{package}.{name}"
        for package in packages:
            self.aliases[package] = package
        for package, names in self.packages.items():
            for name, value in names.items():
                self.aliases.setdefault(f"{package}.{name}", self.home(name, value))

    def home(self, name: str, value: Any) -> str:
        """The full name under which the reference documents a value."""
        return self.aliases[identity(name, value)]

    def target(self, reference: str) -> str | None:
        """The documented name of what a signature refers to, a member of a class included."""
        if reference in self.aliases:
            return self.aliases[reference]
        owner, _, member = reference.rpartition(".")
        return f"{self.aliases[owner]}.{member}" if owner in self.aliases and owner not in self.packages else None

    def owner(self, full_name: str) -> Any:
        """The class that a member belongs to; None where the name is a package or is in the `__all__` of one."""
        package = full_name.rpartition(".")[0]
        if package in self.packages or full_name in self.packages:
            return None
        package, _, owner = package.rpartition(".")
        return self.packages.get(package, {}).get(owner)


class PublicNamesDirective(SphinxDirective):
    """Documents a package: its docstring, its own names, and links to those that are documented elsewhere."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        public: PublicNames = self.env.app.public_names  # type: ignore[attr-defined]
        values = sorted(public.packages[package].items())
        elsewhere = {name: home for name, value in values if (home := public.home(name, value)) != f"{package}.{name}"}
        data = [name for name, value in values if is_data(value) and name not in elsewhere]
        lines = [f".. automodule:: {package}", "   :members:", "   :imported-members:"]
        lines += [f"   :exclude-members: {', '.join([*data, *elsewhere])}", ""]
        for name in data:  # autodoc leaves out data that a package imports
            lines += [f".. autodata:: {package}.{name}", ""]
        if elsewhere:
            lines += ["Also here:", "", *(f"* :py:obj:`{name} <{home}>`" for name, home in elsewhere.items())]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.get_source_info()[0]), self.content_offset, parent)
        return list(parent.children)


class MarkdownDirective(SphinxDirective):
    """Parses its content as Markdown, in the middle of reStructuredText."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        document.reporter = self.state.document.reporter
        MystParser().parse("\n".join(self.content), document)
        return list(document.children)


def fits(full_name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(full_name, pattern) for pattern in patterns)


def fields_of(kind: type) -> tuple[str, ...]:
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else getattr(kind, "__struct_fields__", ())
    return tuple(name for name in names if not name.startswith("_"))


def words_in(module: str, scope: str, name: str) -> list[str]:
    """The `#:` comment, or the string behind it, of an assignment in a class; in a module where the scope is empty."""
    try:
        return list(ModuleAnalyzer.for_module(module).find_attr_docs().get((scope, name), ()))
    except PycodeError:  # a base class without a source
        return []


def words_of_member(owner: type, name: str) -> list[str]:
    found = (words_in(kind.__module__, kind.__qualname__, name) for kind in owner.__mro__)
    return next(filter(None, found), [])


def words_of_data(name: str, value: Any, top_level: str) -> list[str]:
    """The words of a constant or alias in the module that assigns it; its package only imports it."""
    for path, module in sorted(sys.modules.items()):
        if path.partition(".")[0] == top_level and vars(module).get(name) is value:
            words = words_in(path, "", name)
            if words:
                return words
    return []


def made_by_dataclass(name: str, value: Any, lines: list[str]) -> bool:
    """Whether a docstring is the signature that `dataclass` writes where there is none."""
    return isinstance(value, type) and is_dataclass(value) and bool(lines) and lines[0].startswith(f"{name}(")


def own_words(app: Sphinx, what: str, full_name: str, value: Any, lines: list[str]) -> list[str]:
    """What the code says of a name: not what a library says of the function or type behind it."""
    name = full_name.rpartition(".")[2]
    owner = app.public_names.owner(full_name)  # type: ignore[attr-defined]
    if made_by_dataclass(name, value, lines):
        return []
    if owner is not None and inspect.isbuiltin(value):
        return words_of_member(owner, name)
    if what == "data" or inspect.isbuiltin(value):
        return words_of_data(name, value, full_name.partition(".")[0])
    return lines


def check(app: Sphinx, full_name: str, said: bool) -> None:
    if not said and not fits(full_name, app.config.undocumented_yet):
        logger.warning("undocumented public name: %s", full_name, type="public-names", subtype="undocumented")


def on_docstring(app: Sphinx, what: str, full_name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Warns of a public name without words, and has the words of every other one read as Markdown."""
    lines[:] = own_words(app, what, full_name, value, lines)
    text = "\n".join(lines)
    if what != "attribute":
        check(app, full_name, bool(text.strip()))
    if isinstance(value, type) and fits(full_name, app.config.option_classes):
        for name in fields_of(value):  # the docstring of the class may say what a field is, by naming it in backticks
            check(app, f"{full_name}.{name}", f"`{name}`" in text or bool(words_of_member(value, name)))
    if lines:
        lines[:] = [".. markdown::", "", *("   " + line for line in lines), ""]


def in_description(node: nodes.Node | None) -> bool:
    """Whether autodoc made a node; the guides and the list of what is documented elsewhere have their own."""
    while node is not None:
        if isinstance(node, addnodes.desc):
            return True
        node = node.parent
    return False


def has_heading(file: Path, anchor: str | None) -> bool:
    headings = re.findall(r"^#+ +(.+?) *$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor is None or anchor in map(slugify, headings)


def on_doctree_read(app: Sphinx, document: nodes.document) -> None:
    """Resolves what Sphinx cannot.

    A public class in a description gets the name that the reference has for it; a type that is not public becomes plain
    text. So does a link to a document of the repository beyond the site, if its heading is there.
    """
    for node in list(document.findall(addnodes.pending_xref)):
        if node.get("refdomain") == "py" and in_description(node):
            target = app.public_names.target(node["reftarget"])  # type: ignore[attr-defined]
            if target is None:
                node.replace_self(node.children)
            else:
                node["reftarget"], node["reftype"], node["refspecific"] = target, "obj", False
        elif node.get("refdomain") == "doc" and node["reftarget"] not in app.env.found_docs:
            file, anchor = Path(node["reftarget"] + ".md"), node["reftargetid"]
            if not has_heading(file, anchor):
                logger.warning("no such heading: %s#%s", file.name, anchor, location=node, type="public-names")
            node.replace_self(node.children)


def on_consistency(app: Sphinx, env: Any) -> None:
    """Warns of a public name that no page of the reference shows."""
    shown = env.domains["py"].objects
    for package, names in app.public_names.packages.items():  # type: ignore[attr-defined]
        for name, value in names.items():
            home = app.public_names.home(name, value)  # type: ignore[attr-defined]
            if home not in shown:
                text = "public name on no page of the reference: %s.%s"
                logger.warning(text, package, name, type="public-names", subtype="missing")


def on_builder_inited(app: Sphinx) -> None:
    app.public_names = PublicNames(app.config.public_packages)  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("myst_parser")
    app.add_config_value("public_packages", [], "env")
    app.add_config_value("option_classes", [], "env")
    app.add_config_value("undocumented_yet", [], "env")
    app.add_directive("public-names", PublicNamesDirective)
    app.add_directive("markdown", MarkdownDirective)
    app.connect("builder-inited", on_builder_inited)
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("doctree-read", on_doctree_read)
    app.connect("env-check-consistency", on_consistency)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
