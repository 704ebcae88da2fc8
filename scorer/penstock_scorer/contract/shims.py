"""Imports users' scripts make of packages that need not be installed here.

A finder at the *end* of ``sys.meta_path`` answers only for what nothing else could import, so a real package
always wins. Two kinds of names: modules we stand in for (``azureml.core.model``), and modules that moved (old
scikit-learn pickles name ``sklearn.linear_model.ridge``).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_MOVED = {
    "sklearn.externals.joblib": "joblib",
    "sklearn.linear_model.base": "sklearn.linear_model._base",
    "sklearn.linear_model.ridge": "sklearn.linear_model._ridge",
    "sklearn.linear_model.logistic": "sklearn.linear_model._logistic",
    "sklearn.linear_model.coordinate_descent": "sklearn.linear_model._coordinate_descent",
    "sklearn.linear_model.stochastic_gradient": "sklearn.linear_model._stochastic_gradient",
    "sklearn.ensemble.forest": "sklearn.ensemble._forest",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.tree.tree": "sklearn.tree._classes",
    "sklearn.preprocessing.data": "sklearn.preprocessing._data",
    "sklearn.preprocessing.label": "sklearn.preprocessing._label",
    "sklearn.neighbors.classification": "sklearn.neighbors._classification",
    "sklearn.neighbors.regression": "sklearn.neighbors._regression",
    "sklearn.svm.classes": "sklearn.svm._classes",
}
_OLD_JOBLIB = "sklearn.externals.joblib."
_PACKAGES = (
    "azureml",
    "azureml.core",
    "azureml.contrib",
    "azureml.contrib.services",
    "azureml_inference_server_http",
    "azureml_inference_server_http.api",
    "sklearn.externals",
)


class Model:
    """Stand-in for ``azureml.core.model.Model``: finds model files, registers nothing."""

    @staticmethod
    def get_model_path(model_name: str, version: int | str | None = None, _workspace: Any = None) -> str:
        """The path of a model.

        The only entry of ``azureml-models/NAME/VERSION/`` (by default the highest version) below
        ``AZUREML_MODEL_DIR`` or the working directory, else ``./NAME``.

        Raises:
            FileNotFoundError: there is no such model.
        """
        roots = [Path.cwd()]
        if os.environ.get("AZUREML_MODEL_DIR"):
            roots.insert(0, Path(os.environ["AZUREML_MODEL_DIR"]))
        for root in roots:
            folder = root / "azureml-models" / model_name
            if folder.is_dir():
                return str(_only_entry(folder, model_name, version))
        for root in roots:
            if (root / model_name).exists():
                return str(root / model_name)
        places = " or ".join(str(root) for root in roots)
        raise FileNotFoundError(f"Model {model_name!r} is not in {places} (nor in azureml-models/ below).")


class AMLLogFormatter(logging.Formatter):
    """The formatter that users' ``logging.json`` files name; times in UTC."""

    converter = staticmethod(time.gmtime)

    def __init__(
        self,
        fmt: str = "%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s",
        datefmt: str | None = None,
        style: Any = "%",
    ) -> None:
        super().__init__(fmt=fmt, datefmt=datefmt, style=style)


class Workspace:
    """Importable, as scripts expect; there is no workspace to talk to."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("azureml.core.Workspace is not available: this scorer runs without a workspace.")


class Run:
    """Importable, as scripts expect; there is no run to talk to."""

    @staticmethod
    def get_context(*_args: Any, **_kwargs: Any) -> None:
        """Always refused."""
        raise RuntimeError("azureml.core.Run is not available: this scorer runs without a workspace.")


def install() -> None:
    """Make the stand-ins importable in this process; installing twice changes nothing."""
    if not any(isinstance(finder, ShimFinder) for finder in sys.meta_path):
        sys.meta_path.append(ShimFinder())
        sys.meta_path.insert(0, JoblibFinder())


class ShimFinder(MetaPathFinder, Loader):
    """Finds what every other finder missed."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for a stand-in or a moved module, else None."""
        if fullname in _PACKAGES:
            return ModuleSpec(fullname, self, is_package=True)
        if fullname in _CONTENTS or self._moved(fullname):
            return ModuleSpec(fullname, self)
        return None

    def create_module(self, _spec: ModuleSpec) -> None:
        """The default module object will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module, or put the moved one in its place."""
        name = module.__name__
        moved = self._moved(name)
        if moved is not None:
            sys.modules[name] = importlib.import_module(moved)
            return
        for key, value in _CONTENTS.get(name, dict)().items():
            setattr(module, key, value)

    def _moved(self, name: str) -> str | None:
        return _MOVED.get(name)


class JoblibFinder(ShimFinder):
    """Finds the modules below ``sklearn.externals.joblib`` where that is joblib itself, *before* every other finder.

    The package's path is joblib's own, so Python would find its modules there and load each a second time, and a
    pickle's ``NumpyArrayWrapper`` would not be the class that joblib looks for.
    """

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for joblib's own module of that name, else None."""
        parent = sys.modules.get(_OLD_JOBLIB[:-1]) if fullname.startswith(_OLD_JOBLIB) else None
        if parent is not None and parent.__name__ == "joblib":
            return ModuleSpec(fullname, self)
        return None

    def _moved(self, name: str) -> str | None:
        return name.removeprefix("sklearn.externals.")


def _only_entry(folder: Path, name: str, version: int | str | None) -> Path:
    versions = [entry.name for entry in folder.iterdir() if entry.name.isdigit()]
    if version is None:
        if not versions:
            raise FileNotFoundError(f"Model {name!r} has no numbered version in {folder}.")
        version = max(versions, key=int)
    chosen = folder / str(version)
    if not chosen.is_dir():
        raise FileNotFoundError(f"Model {name!r} has no version {version} in {folder}.")
    entries = sorted(chosen.iterdir())
    if len(entries) != 1:
        raise FileNotFoundError(f"Model {name!r} version {version} holds {len(entries)} entries in {chosen}, not one.")
    return entries[0]


def _aml_request() -> dict[str, Any]:
    from penstock_scorer.contract.amlhttp import AMLRequest  # noqa: PLC0415
    from penstock_scorer.contract.rawhttp import rawhttp  # noqa: PLC0415

    return {"AMLRequest": AMLRequest, "rawhttp": rawhttp}


def _aml_response() -> dict[str, Any]:
    from penstock_scorer.contract.amlhttp import AMLResponse  # noqa: PLC0415

    return {"AMLResponse": AMLResponse}


_CONTENTS: dict[str, Any] = {
    "azureml.core": lambda: {"Model": Model, "Workspace": Workspace, "Run": Run},
    "azureml.core.model": lambda: {"Model": Model},
    "azureml.core.workspace": lambda: {"Workspace": Workspace},
    "azureml.core.run": lambda: {"Run": Run},
    "azureml.contrib.services.aml_request": _aml_request,
    "azureml.contrib.services.aml_response": _aml_response,
    "azureml_inference_server_http.api.aml_request": _aml_request,
    "azureml_inference_server_http.api.aml_response": _aml_response,
    "azureml_inference_server_http.log_config": lambda: {"AMLLogFormatter": AMLLogFormatter},
}
