"""Every relative link in the Markdown files leads to a file, and to a heading of it where the link names one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]*)#?([^)\s]*)\)")
MENTION = re.compile(r"\bdocs/[\w./-]+\.\w+")
"""A page of `docs/` that is named in code or prose."""


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(CODE.sub("", page.read_text())):
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("pattern", ["*.py", "*.md", "*.proto", "*.toml", "*.yaml", "Dockerfile", "Makefile"])
def test_pages_named_in_the_tree_exist(pattern: str) -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    files = [*ROOT.glob(pattern), *(file for folder in folders for file in folder.rglob(pattern))]
    named = {mention for file in files if file.name != "CHANGELOG.md" for mention in MENTION.findall(file.read_text())}
    pages = {name for name in named if name.endswith((".md", ".svg", ".png"))}
    assert sorted(name for name in pages if not (ROOT / name).exists()) == []
