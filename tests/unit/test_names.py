"""One word for one thing: no public class name stands in two packages, and replaced names do not come back."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = (
    "benchmarks",
    "capacity",
    "client",
    "dashboards",
    "drill",
    "evaluation",
    "examples",
    "fleet",
    "gateway",
    "servekit",
    "services",
)


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every first-party module with its syntax tree."""
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def package(path: Path) -> str:
    """The top two levels of the package that a module belongs to, such as `services.speech`."""
    return ".".join(path.parent.parts[:2])


def public_names(tree: ast.Module) -> set[str]:
    """The public classes and functions of a module, methods included."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and not node.name.startswith("_")}


def replaced_names() -> set[str]:
    """The names in the last table of the glossary."""
    table = (ROOT / "docs/reference/glossary.md").read_text().partition("## Names that were replaced")[2]
    return {name for row in re.findall(r"^\|([^|]*)\|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_a_public_class_name_belongs_to_one_package() -> None:
    packages: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                packages[node.name].add(package(path))
    shared = {name: sorted(found) for name, found in packages.items() if len(found) > 1}
    assert shared == {}


def test_replaced_names_do_not_come_back() -> None:
    replaced = replaced_names()
    assert {"Flag", "ModelCard"} <= replaced
    found = {str(path): names & replaced for path, tree in modules() if (names := public_names(tree))}
    assert {path: names for path, names in found.items() if names} == {}
