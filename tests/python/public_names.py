"""What the package promises: each public name, and what its docstring lacks. The tests and the reference
(tools/docs/python_reference.py) go by this one list.

A name is public where a module lists it in `__all__`; a member where no underscore leads it, `__call__` too, and where the
class or a base of the same package has it. Docstrings are in NumPy's form. An attribute is documented by its line in the
class's section Attributes, or in Parameters where it is what the constructor was given. A class of which people are given
objects says "Made by" whom, and its constructor is then not theirs.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from types import ModuleType
from typing import Any

MODULES = ("fovea", "fovea.torch", "fovea.jax")
OPERATORS = ("__call__",)
SECTION = re.compile(r"^(\w+)\n-{3,}$", re.MULTILINE)


@dataclass(frozen=True)
class Name:
    """A public name, as people write it, and what it stands for."""

    path: str  # fovea.Model.predict
    kind: str  # module, function, class, exception, method, property, attribute, parameter (kept as given) or constant
    value: Any
    doc: str  # its own, never a base's; "" where there is none


def names_of(module: ModuleType) -> list[Name]:
    """Every public name of a module, members behind their class."""
    found = [Name(module.__name__, "module", module, module.__doc__ or "")]
    for name in module.__all__:
        value = getattr(module, name)
        path = f"{module.__name__}.{name}"
        if inspect.isclass(value):
            kind = "exception" if issubclass(value, BaseException) else "class"
            found.append(Name(path, kind, value, own_doc(value)))
            found += members_of(value, path)
        elif callable(value):
            found.append(Name(path, "function", value, own_doc(value)))
        else:
            found.append(Name(path, "constant", value, _comment_before(module, name)))
    return found


def members_of(owner: type, path: str) -> list[Name]:
    package = owner.__module__.partition(".")[0]
    listed = sections(own_doc(owner))
    attributes, members = dict.fromkeys(getattr(owner, "_fields", ())), {}
    for base in reversed(owner.__mro__):
        if base.__module__.partition(".")[0] != package:
            continue
        attributes.update(dict.fromkeys(x for x in (*_annotated(base), *_assigned(base)) if not x.startswith("_")))
        members.update({x: y for x, y in vars(base).items() if not x.startswith("_") or x in OPERATORS})
    found = []
    for name, value in members.items():
        if isinstance(value, property):
            found.append(Name(f"{path}.{name}", "property", value, own_doc(value)))
        elif callable(value) or isinstance(value, (classmethod, staticmethod)):
            found.append(Name(f"{path}.{name}", "method", value, own_doc(getattr(value, "__func__", value))))
        else:
            attributes[name] = None
    for name in attributes:
        if isinstance(members.get(name), property):
            continue
        given = name in listed.get("Parameters", {}) and name not in listed.get("Attributes", {})
        doc = listed.get("Parameters" if given else "Attributes", {}).get(name, "")
        found.append(Name(f"{path}.{name}", "parameter" if given else "attribute", None, doc))
    return found


def problems_of(name: Name) -> list[str]:
    """What a docstring lacks, in words; nothing where all is there."""
    if not name.doc.strip():
        return ["expected a docstring, found none"]
    if name.kind not in ("function", "class", "method"):
        return []
    mine = _parameters(name)
    result = []
    given = {word for entries in sections(name.doc).values() for word in entries}
    spoken = given | set(re.findall(r"`+\*{0,2}(\w+)", name.doc))
    for parameter in mine:
        if parameter not in spoken:
            result.append(f"expected a word about the parameter {parameter}, found none")
    if name.kind == "function" or (name.kind == "class" and mine):
        wanted = ["Parameters"] if mine else []
        wanted += ["Returns"] if name.kind == "function" and _returns(name.value) else []
        wanted += ["Raises"] if mine else []
        missing = [section for section in wanted if section not in sections(name.doc)]
        result += [f"expected the section {section}, found none" for section in missing]
    return result


def own_doc(value: Any) -> str:
    """A docstring that was written for it: no base's, and not the signature that a tool put there."""
    doc = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    if not isinstance(doc, str):
        return ""
    name = getattr(value, "__name__", "")
    first, _, rest = doc.partition("\n")
    if name and first.startswith(f"{name}(") and (first.endswith(")") or "->" in first):
        return inspect.cleandoc(rest)
    return inspect.cleandoc(doc)


def sections(doc: str) -> dict[str, dict[str, str]]:
    """The sections of a docstring: of each the entries, `q, k` as two, with what is said of them."""
    found: dict[str, dict[str, str]] = {}
    parts = SECTION.split(doc)
    for title, text in zip(parts[1::2], parts[2::2]):
        entries: dict[str, str] = {}
        open_: list[str] = []
        for line in text.strip("\n").split("\n"):
            if line and not line[0].isspace():
                head, _, kind = line.partition(" : ")
                open_ = [word.strip().lstrip("*") for word in head.split(",")]
                entries.update(dict.fromkeys(open_, kind))
            else:
                entries.update({word: f"{entries[word]} {line.strip()}".strip() for word in open_})
        found[title] = entries
    return found


def _parameters(name: Name) -> list[str]:
    """Those that people give."""
    if name.kind == "class":
        if "Made by" in name.doc:
            return []
        makers = [x for x in name.value.__mro__ if "__init__" in vars(x)]
        if not makers or makers[0].__module__.partition(".")[0] != name.value.__module__.partition(".")[0]:
            return []
        function = makers[0].__init__
    else:
        function = getattr(name.value, "__func__", name.value)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    bound = name.kind != "function" and not isinstance(name.value, staticmethod)
    return list(signature.parameters)[1 if bound else 0 :]


def _returns(function: Any) -> bool:
    try:
        return inspect.signature(function).return_annotation not in (None, "None")
    except (TypeError, ValueError):
        return True


def _annotated(owner: type) -> list[str]:
    return list(vars(owner).get("__annotations__", {}))


def _assigned(owner: type) -> list[str]:
    """What its methods set on self."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError):
        return []
    names = []
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        names += [t.attr for t in targets if isinstance(t, ast.Attribute) and getattr(t.value, "id", "") == "self"]
    return names


def _comment_before(module: ModuleType, name: str) -> str:
    """What `#: …` says of a constant, in the line above it."""
    found = re.search(rf"^#: (.*)\n{name}\b", inspect.getsource(module), re.MULTILINE)
    return found[1] if found else ""
