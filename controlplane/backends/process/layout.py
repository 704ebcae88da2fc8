"""Where the process backend keeps its things below ``PENSTOCK_HOME``.

::

    environments/KEY/        virtual environments, with build.log
    preparations/HASH.json   which environment a template uses; HASH.log what preparing it said
    instances/ID/            an instance: instance.json, process/ (its daemon), log, policy.json, code/, azureml-models/
    run/ID.sock              where it answers HTTP
    run/ID.grpc              where it answers gRPC; of several workers ID.grpc.0, ID.grpc.1, ...
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

_LONGEST_SOCKET_PATH = 107
"""Bytes, what Linux allows."""
_LONGEST_SOCKET_NAME = len("/0123456789ab.grpc.1023~/s")
"""gRPC's, of the last of as many workers as there may be, while it is made."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below ``home``, which is absolute."""

    home: Path

    @property
    def environments(self) -> Path:
        """Virtual environments by key."""
        return self.home / "environments"

    @property
    def preparations(self) -> Path:
        """What was prepared, by the hash of the template."""
        return self.home / "preparations"

    @property
    def instances(self) -> Path:
        """A folder for each instance."""
        return self.home / "instances"

    def run_folder(self) -> Path:
        """The folder for sockets, made on demand, under a path short enough for them.

        Below a deep ``home`` the sockets lie in ``home/run`` all the same, and are reached over a short link in the
        folder for temporary files, which is ours and points there, or is refused.

        Raises:
            OSError: it cannot be made, or somebody else has taken the link's name.
        """
        folder = self.home / "run"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if len(os.fsencode(folder)) + _LONGEST_SOCKET_NAME <= _LONGEST_SOCKET_PATH:
            return folder
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        link = Path(tempfile.gettempdir()) / f"penstock-{name}"
        try:
            link.symlink_to(folder)
        except FileExistsError:
            found = link.lstat()
            if not stat.S_ISLNK(found.st_mode) or found.st_uid != os.getuid() or link.readlink() != folder:
                raise OSError(
                    f"{folder} is too long a path for sockets, and {link}, a short link to it, belongs to somebody else"
                ) from None
        return link
