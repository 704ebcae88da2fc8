"""A pip requirements file, line by line."""

from __future__ import annotations

import re

from controlplane.backends.environments.wanted import EnvironmentFileError, Wanted, WantedEnvironment, wanted

_KEPT = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--pre", "--no-index", "--trusted-host")
_DROPPED = ("--use-feature", "--prefer-binary", "--require-hashes", "--no-binary", "--only-binary")
_OTHER_FILES = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable")
_HASH = re.compile(r"\s+--hash[=\s]\S+")
_COMMENT = re.compile(r"(^|\s)#.*$")


def read(text: str) -> WantedEnvironment:
    """What the file asks for.

    Raises:
        EnvironmentFileError: a line is no requirement, or names another file, which did not travel along.
    """
    packages, options = list[Wanted](), list[str]()
    for line in _logical_lines(text):
        option = re.split(r"[\s=]", line, maxsplit=1)[0]
        if option in _OTHER_FILES:
            raise EnvironmentFileError(
                f"'{line}' names another file, which does not travel with this one: write its lines here instead"
            )
        if option in _KEPT:
            options.append(line)
        elif option.startswith("-"):
            if option not in _DROPPED:
                raise EnvironmentFileError(f"'{line}' is not an option that is understood here")
        else:
            packages.append(wanted(_HASH.sub("", line).strip()))
    return WantedEnvironment(packages=tuple(dict.fromkeys(packages)), options=tuple(options))


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\r?\n", " ", text.removeprefix("\ufeff"))
    lines = (_COMMENT.sub("", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]
