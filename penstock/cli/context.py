"""What a running command has at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from penstock.cli.console import Console
from penstock.cli.machine import Machine
from penstock.errors import PlatformError
from penstock.settings import PlatformFile, Settings

if TYPE_CHECKING:
    from penstock.client import Client


@dataclass
class Context:
    """The console, the settings, and a client that is made when a command first asks for it."""

    console: Console
    settings: Settings

    @cached_property
    def client(self) -> Client:
        """The control plane.

        Raises:
            PlatformError: none runs on this home, or not any more, and no other was named.
        """
        if not self.settings.target:
            self._check_home()
        # gRPC takes 0.2 s to import, which `penstock --help` need not wait for.
        from penstock.client import Client  # noqa: PLC0415

        return Client(settings=self.settings)

    def _check_home(self) -> None:
        """Say at once what would take gRPC seconds to find out."""
        machine = Machine(self.settings.home)
        if PlatformFile.read(self.settings.home) is None:
            hint = "`penstock up --detach` starts one; PENSTOCK_HOME and PENSTOCK_TARGET name another"
            raise PlatformError(f"no platform is running on {self.settings.home}", hint=hint)
        if machine.lost():
            hint = "`penstock up --detach` starts it again and adopts what runs"
            message = f"the control plane of {self.settings.home} has ended unexpectedly; what served goes on serving"
            raise PlatformError(message, hint=hint)

    def close(self) -> None:
        """Let go of what was made."""
        if "client" in self.__dict__:
            self.client.close()
