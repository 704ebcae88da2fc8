"""Where settings come from: which flag, variable or key of a file says what.

A flag wins over an environment variable, which wins over the configuration file (JSON with the variables'
names as keys). Flags are those of ``azmlinfsrv``, and Penstock's own.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock_scorer import __version__
from penstock_scorer.errors import SettingsError
from penstock_scorer.inference.model import identify
from penstock_scorer.settings import Settings, is_loopback
from penstock_scorer.supervision.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

# Names that a configuration file may use beside the variables' own.
_FILE_NAMES = {
    "app_root": "AML_APP_ROOT",
    "source_dir": "AZUREML_SOURCE_DIRECTORY",
    "entry_script": "AZUREML_ENTRY_SCRIPT",
    "azureml_model_dir": "AZUREML_MODEL_DIR",
    "service_name": "SERVICE_NAME",
    "service_version": "SERVICE_VERSION",
    "service_path_prefix": "SERVICE_PATH_PREFIX",
    "scoring_timeout": "SCORING_TIMEOUT_MS",
    "log_level": "AZUREML_LOG_LEVEL",
    "cors_origins": "AML_CORS_ORIGINS",
}


def resolve(flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path) -> Settings:
    """Merge flags, environment and configuration file.

    Args:
        flags: Values of the command line by flag name; None where not given.
        environ: The environment.
        cwd: What relative paths of flags start from.

    Raises:
        SettingsError: a value is missing, malformed or contradicts another.
    """
    given, notes = _configuration_file(flags.get("config_file") or environ.get("AZUREML_CONFIG_FILE"), cwd)
    given.update(environ)
    read = _Reader(flags, given)
    app_root = _absolute(given.get("AML_APP_ROOT"), cwd) or cwd
    script = _absolute(flags.get("entry_script"), cwd) or _absolute(given.get("AZUREML_ENTRY_SCRIPT"), app_root)
    if script is None:
        raise SettingsError("No entry script: give --entry_script, or set AZUREML_ENTRY_SCRIPT (or --config_file).")
    model_dir = _absolute(flags.get("model_dir"), cwd)
    if model_dir is not None and not model_dir.exists():
        raise SettingsError(f"The model directory {model_dir} does not exist (--model_dir).")
    if flags.get("appinsights_instrumentation_key") or given.get("AML_APP_INSIGHTS_KEY"):
        notes.append("An Application Insights key was given; telemetry is at /metrics, nothing is sent to Azure.")
    port = read.integer("port", "SERVER_PORT", 5001, 1, 65535)
    health_port = read.integer("health_port", "HEALTH_PORT", None, 1, 65535)
    served_dir = str(model_dir) if model_dir else given.get("AZUREML_MODEL_DIR")
    settings = Settings(
        entry_script=script,
        app_root=app_root,
        source_dir=_absolute(given.get("AZUREML_SOURCE_DIRECTORY"), app_root),
        model_dir=served_dir,
        host=str(flags.get("host") or "127.0.0.1"),
        port=port or 5001,
        health_port=None if health_port == port else health_port,
        uds=_absolute(flags.get("uds"), cwd),
        grpc_port=read.integer("grpc_port", "PENSTOCK_GRPC_PORT", None, 1, 65535),
        grpc_uds=_absolute(flags.get("grpc_uds"), cwd),
        tls=_tls(flags, cwd),
        worker_count=read.integer("worker_count", "WORKER_COUNT", 1, 1, 1024) or 1,
        preload=given.get("WORKER_PRELOAD", "false").lower() == "true",
        worker_timeout_s=float(read.integer(None, "WORKER_TIMEOUT", 300, 1, 10**6) or 300),
        scoring_timeout_ms=read.integer(None, "SCORING_TIMEOUT_MS", 3_600_000, 1, 10**9) or 3_600_000,
        max_concurrent=read.integer(None, "PENSTOCK_MAX_CONCURRENT", None, 1, 10_000),
        max_queue_wait_ms=read.integer(None, "PENSTOCK_MAX_QUEUE_WAIT_MS", None, 0, 10**9),
        max_queue=read.integer(None, "PENSTOCK_MAX_QUEUE", 1024, 1, 10**6) or 1024,
        max_request_bytes=read.integer(None, "PENSTOCK_MAX_REQUEST_BYTES", 64 * 2**20, 1, 2**40) or 64 * 2**20,
        drain_seconds=float(read.integer(None, "PENSTOCK_DRAIN_SECONDS", 30, 0, 86_400) or 0),
        cors_origins=_list(flags.get("access_control_allow_origins") or given.get("AML_CORS_ORIGINS")),
        service_name=given.get("SERVICE_NAME", "ML service"),
        service_version=given.get("SERVICE_VERSION", "1.0"),
        model_identity=identify(given.get("SERVICE_NAME"), given.get("SERVICE_VERSION"), served_dir),
        service_path_prefix=given.get("SERVICE_PATH_PREFIX", ""),
        log_level=given.get("AZUREML_LOG_LEVEL", "INFO"),
        json_logs=read.choice("PENSTOCK_LOG_FORMAT", ("text", "json")) == "json",
        access_log=given.get("PENSTOCK_ACCESS_LOG", "false").lower() == "true",
        server_version=_server_version(given),
        auth_policy=_absolute(given.get("PENSTOCK_AUTH_POLICY"), cwd),
        failure_file=_absolute(given.get("PENSTOCK_FAILURE_FILE"), cwd),
        notes=tuple(notes),
    )
    if settings.max_concurrent is not None and settings.worker_count > settings.max_concurrent:
        note = (
            f"{settings.worker_count} workers were asked for, {settings.max_concurrent} are started: this instance may "
            f"run {settings.max_concurrent} request(s) at once (PENSTOCK_MAX_CONCURRENT), the others would be idle."
        )
        settings = replace(settings, worker_count=settings.max_concurrent, notes=(*settings.notes, note))
    if settings.grpc_port is not None and settings.grpc_uds is not None:
        raise SettingsError("Both --grpc_port and --grpc_uds are given: gRPC is served in one place.")
    if settings.tls is not None:
        if settings.uds is not None or settings.grpc_uds is not None:
            raise SettingsError("--tls_cert is for ports: a Unix socket (--uds, --grpc_uds) is guarded by its mode.")
        settings.tls.check()
    if settings.grpc_addresses:
        _require_grpc()
    if settings.auth_policy is None and not (
        settings.local and (settings.grpc_port is None or is_loopback(settings.host))
    ):
        raise SettingsError(
            f"Refusing to listen on {settings.host} with no authentication: set PENSTOCK_AUTH_POLICY, "
            "or listen on 127.0.0.1 or a Unix socket."
        )
    return settings


def _tls(flags: Mapping[str, Any], cwd: Path) -> TlsFiles | None:
    cert, key, client_ca = (_absolute(flags.get(flag), cwd) for flag in ("tls_cert", "tls_key", "tls_client_ca"))
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None or client_ca is None:
        raise SettingsError("--tls_cert, --tls_key and --tls_client_ca belong together.")
    return TlsFiles(cert, key, client_ca)


def _require_grpc() -> None:
    missing = [name for name in ("grpc", "numpy", "google.protobuf") if not _installed(name)]
    if missing:
        raise SettingsError(f"gRPC needs {', '.join(missing)}: pip install 'penstock-scorer[grpc]'.")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class _Reader:
    flags: Mapping[str, Any]
    given: Mapping[str, str]

    def integer(self, flag: str | None, variable: str, default: int | None, low: int, high: int) -> int | None:
        value, name = (self.flags.get(flag), f"--{flag}") if flag else (None, variable)
        if value is None:
            value, name = self.given.get(variable), variable
        if value is None or value == "":
            return default
        try:
            number = int(value)
        except ValueError:
            raise SettingsError(f"{name} is {value!r}, not a whole number.") from None
        if not low <= number <= high:
            raise SettingsError(f"{name} is {number}, not between {low} and {high}.")
        return number

    def choice(self, variable: str, choices: tuple[str, ...]) -> str:
        """One of ``choices``, the first by default."""
        value = self.given.get(variable) or choices[0]
        if value not in choices:
            raise SettingsError(f"{variable} is {value!r}, not {' or '.join(choices)}.")
        return value


def _configuration_file(path: Any, cwd: Path) -> tuple[dict[str, str], list[str]]:
    if not path:
        return {}, []
    file = cwd / path
    try:
        data = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The configuration file {file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingsError(f"The configuration file {file} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise SettingsError(f"The configuration file {file} is not a JSON object.")
    known: dict[str, str] = {
        _FILE_NAMES.get(str(key), str(key)): str(value) for key, value in data.items() if value is not None
    }
    foreign = sorted(key for key in data if key != key.upper() and key not in _FILE_NAMES)
    notes = [f"The configuration file has keys the scorer does not know: {', '.join(foreign)}."] if foreign else []
    return known, notes


def _server_version(given: Mapping[str, str]) -> str | None:
    if given.get("SERVER_VERSION_LOG_RESPONSE_ENABLED", "true").lower() != "true":
        return None
    return given.get("HTTP_X_MS_SERVER_VERSION", f"penstock-scorer/{__version__}") or None


def _absolute(path: Any, base: Path) -> Path | None:
    return Path(os.path.normpath(base / Path(str(path)).expanduser())) if path else None


def _list(text: Any) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(text or "").split(",") if part.strip())
