"""What the protocol's transports share: the model, and the script's function behind it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.inference.model import Model, specs

if TYPE_CHECKING:
    from penstock_scorer.contract.script import Script
    from penstock_scorer.inference.callee import Callee


class Served:
    """A script as the protocol sees it, after its ``init``.

    Args:
        script: Its ``metadata`` is called here, its ``infer`` or ``run`` later.
        identity: The model's name and version.

    Raises:
        MetadataError: ``metadata()`` raised, or describes no tensors.
    """

    def __init__(self, script: Script, identity: tuple[str, str] = ("model", "1")) -> None:
        self.model = Model(*identity, *specs(script.metadata()))
        self.takes_score = not script.has_run
        """Whether ``/score`` is for the protocol too: the script has nothing else to answer it with."""
        self.merges = script.merged_infer is not None
        """Whether tensors may be merged with those of others."""
        self._script = script
        self._callee: Callee | None = None
        if script.infer is not None and find_spec("numpy") is not None:
            self.callee()

    def callee(self) -> Callee:
        """The script's function. May import numpy, so it is called on a slot's thread.

        Raises:
            BadInputError: numpy is not installed (501).
        """
        if self._callee is None:
            try:
                from penstock_scorer.inference.callee import of  # noqa: PLC0415
            except ModuleNotFoundError as error:
                if error.name != "numpy":
                    raise
                raise BadInputError("Tensors need numpy: pip install 'penstock-scorer[v2]'.", 501) from None
            self._callee = of(self._script)
        return self._callee
