"""The files a manifest names: found and read relative to the manifest, or reported at the line that names them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Protocol

from penstock.errors import ManifestError, Position, Problem
from penstock.manifest import tree
from penstock.manifest.fields import Fields, Report


class Files(Protocol):
    """What reading a manifest needs of a file system."""

    def is_file(self, path: Path) -> bool:
        """Whether there is a regular file."""

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder."""

    def names(self, folder: Path) -> list[str]:
        """What lies in a folder; nothing when it is none."""

    def read(self, path: Path) -> str:
        """A file's text.

        Raises:
            OSError: it cannot be read.
            UnicodeDecodeError: it is not UTF-8.
        """


class LocalFiles:
    """The machine's own."""

    def is_file(self, path: Path) -> bool:
        """See :class:`Files`."""
        return path.is_file()

    def is_folder(self, path: Path) -> bool:
        """See :class:`Files`."""
        return path.is_dir()

    def names(self, folder: Path) -> list[str]:
        """See :class:`Files`."""
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def read(self, path: Path) -> str:
        """See :class:`Files`."""
        return path.read_text(encoding="utf-8-sig")


class Folder:
    """Resolves the paths of one manifest, which lies in ``base``."""

    def __init__(self, base: Path, files: Files) -> None:
        self.base = base
        self.files = files

    def at(self, base: Path) -> Folder:
        """The same for a manifest in another folder."""
        return Folder(base, self.files)

    def file(self, fields: Fields, key: str, text: str) -> Path | None:
        """The existing file that ``text`` names; otherwise the key's line is reported."""
        return self._existing(fields, key, text, folder=False, file=True)

    def folder(self, fields: Fields, key: str, text: str) -> Path | None:
        """The existing folder that ``text`` names."""
        return self._existing(fields, key, text, folder=True, file=False)

    def either(self, fields: Fields, key: str, text: str) -> Path | None:
        """The existing file or folder that ``text`` names."""
        return self._existing(fields, key, text, folder=True, file=True)

    def read(self, fields: Fields, key: str, path: Path) -> str | None:
        """The text of ``path``; a file that cannot be read is reported at the key's line."""
        try:
            return read(self.files, path)
        except ManifestError as error:
            fields.report.problem(fields.at(key), error.problems[0].message)
            return None

    def _existing(self, fields: Fields, key: str, text: str, *, folder: bool, file: bool) -> Path | None:
        if not text:
            return None
        node = fields.value(key)
        where = node.position if isinstance(node, tree.Scalar) else fields.at(key)
        text = text.removeprefix("file:")
        if text.startswith("azureml:") or "://" in text or "\0" in text:
            fields.report.problem(where, f"`{key}: {text}` is not on this machine: give a local path")
            return None
        path = Path(text) if Path(text).is_absolute() else Path(self.base, text)
        try:
            if (folder and self.files.is_folder(path)) or (file and self.files.is_file(path)):
                return path
            is_other = self.files.is_folder(path) or self.files.is_file(path)
        except OSError as error:
            fields.report.problem(where, f"`{text}` cannot be read: {error.strerror}")
            return None
        wanted = "file or folder" if folder and file else "folder" if folder else "file"
        if is_other:
            fields.report.problem(where, f"`{text}` is a {'file' if folder else 'folder'}, and a {wanted} is needed")
            return None
        looked = "" if text == str(path) else f"; looked for {path}"
        fields.report.problem(where, f"there is no {wanted} `{text}`{self._near(path)}{looked}")
        return None

    def _near(self, path: Path) -> str:
        try:
            names = difflib.get_close_matches(path.name, self.files.names(path.parent), n=1)
        except OSError:
            return ""
        return f" (did you mean `{names[0]}`?)" if names else ""


def read(files: Files, path: Path) -> str:
    """The text of ``path``.

    Raises:
        ManifestError: it cannot be read, or is no text.
    """
    position = Position(shown(path))
    try:
        return files.read(path)
    except FileNotFoundError:
        raise ManifestError([Problem(position, "there is no such file")]) from None
    except IsADirectoryError:
        raise ManifestError([Problem(position, "this is a folder, and a YAML file is needed")]) from None
    except OSError as error:
        raise ManifestError([Problem(position, f"the file cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise ManifestError([Problem(position, "the file is not text (UTF-8)")]) from None


def shown(path: Path) -> str:
    """How messages name a file: as short as the working folder allows."""
    try:
        return str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except (ValueError, OSError):
        return str(path)


def parse_mapping(text: str, file: str, report: Report) -> Fields | None:
    """The mapping in ``text`` to be read key by key; anything else is reported."""
    try:
        node = tree.parse(text, file)
    except ManifestError as error:
        report.adopt(error)
        return None
    if node is None:
        report.problem(Position(file), "the file is empty")
        return None
    if not isinstance(node, tree.Mapping):
        report.problem(node.position, "the file must hold a mapping of keys to values")
        return None
    return Fields(node, report)
