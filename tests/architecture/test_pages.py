"""What the pages name is there: files, links, tasks. Their commands are run by ``tests/e2e/test_docs.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "scorer/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#([^)]*))?\)")
FILE = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|md|lua|toml|yml|proto)|[\w.-]+/(?:[\w.-]+/)*)`")
TASK = re.compile(r"`?\bmake ([a-z][a-z-]+)\b(?=`|\s+#)")
MADE_LATER = {"dist/", "blobs/", "environments/", "instances/", "preparations/", "run/", "gateway/", "logs/", "tls/"}
"""What the tasks and a running platform make."""


def text(page: Path) -> str:
    return page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    missing = [
        link[1]
        for link in LINK.finditer(text(page))
        if not (page.parent / link[1]).exists() or not _has_heading(page.parent / link[1], link[2])
    ]
    folders = [ROOT, page.parent, ROOT / "controlplane", ROOT / "scorer", ROOT / "scorer" / "penstock_scorer"]
    missing += [
        found[1]
        for found in FILE.finditer(text(page))
        if found[1] not in MADE_LATER and not any((folder / found[1]).exists() for folder in folders)
    ]
    assert missing == []


def test_every_task_that_a_page_names_is_in_the_makefile() -> None:
    tasks = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {(task, page.name) for page in PAGES for task in TASK.findall(text(page))}
    assert len(named) > 5
    assert {(task, page) for task, page in named if task not in tasks} == set()


def test_every_room_is_on_the_map() -> None:
    """ARCHITECTURE.md has a row for each folder of code, and none for one that is gone."""
    rows = set(re.findall(r"^\| `([\w/]+/)`", text(ROOT / "ARCHITECTURE.md"), re.MULTILINE))
    packages = {
        f"{path.parent.relative_to(ROOT)}/"
        for folder in ("penstock", "controlplane", "gateway")
        for path in (ROOT / folder).glob("*/__init__.py")
    }
    lost = {room for room in packages if not any(room.startswith(row) or row.startswith(room) for row in rows)}
    assert lost == set()


def _has_heading(page: Path, anchor: str | None) -> bool:
    if not anchor:
        return True
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
