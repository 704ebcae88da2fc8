"""The one model this server has: its name, its version, and what is known of its tensors.

Needs no numpy: metadata and health are answered before the first tensor arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from penstock_scorer import __version__
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER: dict[str, Any] = {
    "name": "penstock-scorer",
    "version": __version__,
    "extensions": ["binary_tensor_data", "parameters"],
}
PLATFORM = "python"
_DATATYPES = frozenset(
    "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 BF16 FP32 FP64 BYTES".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class TensorSpec:
    """What is known of an input or output before a request."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1: any size."""

    def mismatch(self, datatype: str, shape: tuple[int, ...]) -> str:
        """Why a tensor is not this one, as the end of a sentence; empty when it is."""
        if datatype != self.datatype:
            return f"is {datatype}, not {self.datatype}"
        fits = len(shape) == len(self.shape) and all(
            wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True)
        )
        return "" if fits else f"has the shape {list(shape)}, not {list(self.shape)}"


@dataclass(frozen=True)
class Model:
    """A model as its clients see it."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...] = ()
    """Empty: not known; requests are not checked against it."""
    outputs: tuple[TensorSpec, ...] = ()

    def check(self, name: str, version: str) -> None:
        """That a request is for this model; an empty version means any.

        Raises:
            BadInputError: another name or version (404).
        """
        if name != self.name:
            raise BadInputError(f"There is no model {_shown(name)}: this server has {self.name!r}.", 404)
        if version not in ("", self.version):
            raise BadInputError(f"Model {self.name!r} has no version {_shown(version)}: it has {self.version!r}.", 404)

    def metadata(self) -> dict[str, Any]:
        """The answer to a request for the model's metadata."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": PLATFORM,
            "inputs": [vars(spec) | {"shape": list(spec.shape)} for spec in self.inputs],
            "outputs": [vars(spec) | {"shape": list(spec.shape)} for spec in self.outputs],
        }


def identify(service_name: str | None, service_version: str | None, model_dir: str | None) -> tuple[str, str]:
    """The model's name and version.

    The service's where they are set (``SERVICE_NAME``, ``SERVICE_VERSION``); else those in
    ``.../azureml-models/NAME/VERSION`` (``AZUREML_MODEL_DIR``); else ``model`` and ``1``.
    """
    parts = PurePath(model_dir or "").parts
    name, version = "model", "1"
    if "azureml-models" in parts:
        below = parts[parts.index("azureml-models") + 1 :]
        name = below[0] if below else name
        version = below[1] if len(below) > 1 else version
    return service_name or name, service_version or version


def specs(found: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What a script's ``metadata()`` returned.

    It is ``{"inputs": [...], "outputs": [...]}``, each entry ``{"name", "datatype", "shape"}``.

    Raises:
        MetadataError: it is not that.
    """
    if not isinstance(found, dict) or not found.keys() <= {"inputs", "outputs"}:
        raise MetadataError('metadata() does not return {"inputs": [...], "outputs": [...]}.')
    return _specs("inputs", found.get("inputs", [])), _specs("outputs", found.get("outputs", []))


def _specs(kind: str, entries: Any) -> tuple[TensorSpec, ...]:
    if not isinstance(entries, (list, tuple)):
        raise MetadataError(f"metadata(): {kind!r} is not a list.")
    found = tuple(_spec(kind, entry) for entry in entries)
    if len({spec.name for spec in found}) != len(found):
        raise MetadataError(f"metadata(): {kind!r} has two tensors of one name.")
    return found


def _spec(kind: str, entry: Mapping[str, Any]) -> TensorSpec:
    if not isinstance(entry, dict) or entry.keys() != {"name", "datatype", "shape"}:
        raise MetadataError(f"metadata(): an entry of {kind!r} does not have exactly name, datatype and shape.")
    name, datatype, shape = entry["name"], entry["datatype"], entry["shape"]
    if not isinstance(name, str) or not name:
        raise MetadataError(f"metadata(): an entry of {kind!r} has no name.")
    if datatype not in _DATATYPES:
        raise MetadataError(f"metadata(): {name!r} has the datatype {datatype!r}, which is not known.")
    if not isinstance(shape, (list, tuple)) or not all(type(size) is int and size >= -1 for size in shape):
        raise MetadataError(f"metadata(): the shape of {name!r} is not a list of whole numbers from -1.")
    return TensorSpec(name, datatype, tuple(shape))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "...")  # noqa: PLR2004
