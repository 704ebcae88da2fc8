"""What an instance is started with: its command line, and an environment that holds nothing it was not given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from controlplane.backends.process.instance_files import InstanceFiles, Manifest
from controlplane.domain.instances import InstanceTemplate

_PASSED_ON = (
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_PASSED_ON_PREFIXES = ("LC_", "CUDA_", "NVIDIA_")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
RESERVED_PREFIX = "PENSTOCK_"
"""Environment variables users cannot set: they are how the platform speaks to the scorer."""


def command(python: Path, files: InstanceFiles, manifest: Manifest, template: InstanceTemplate) -> list[str]:
    """The scorer's command line."""
    argv = [str(python), "-m", "penstock_scorer", *_listening(files, manifest)]
    if template.scoring_script:
        argv += ["--entry_script", str(files.code / template.scoring_script)]
    if (model := files.model(template)) is not None:
        argv += ["--model_dir", str(model)]
    return argv


def _listening(files: InstanceFiles, manifest: Manifest) -> list[str]:
    if not manifest.address:
        return ["--uds", manifest.socket, *(["--grpc_uds", manifest.grpc_socket] if manifest.grpc_socket else [])]
    host, _, port = manifest.address.rpartition(":")
    argv = ["--host", host.strip("[]"), "--port", port]
    if manifest.grpc_address:
        argv += ["--grpc_port", manifest.grpc_address.rpartition(":")[2]]
    certificate = str(files.certificate)
    return [*argv, "--tls_cert", certificate, "--tls_key", certificate, "--tls_client_ca", str(files.authority)]


def instance_environment(
    python: Path, files: InstanceFiles, template: InstanceTemplate, base: Mapping[str, str], cores: int
) -> dict[str, str]:
    """The whole environment: a little of ours, the contract's, what the user set, and the platform's own.

    The numeric libraries start a thread for each core by default, in each worker process; with several workers they
    would only wait for each other. So a worker gets its share, unless the user says otherwise.
    """
    user = template.environment_variables
    workers = int(user["WORKER_COUNT"]) if user.get("WORKER_COUNT", "").isdigit() else 1
    threads = str(max(1, cores // max(1, workers)))
    settings = template.request_settings
    drain = math.ceil(settings.request_timeout_ms / 1000) + 1
    ours = {name: value for name, value in base.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)}
    contract = {
        "AML_APP_ROOT": str(files.code),
        "AZUREML_SOURCE_DIRECTORY": str(files.code),
        "AZUREML_ENTRY_SCRIPT": template.scoring_script,
        "SERVICE_NAME": template.endpoint,
        "SERVICE_VERSION": template.deployment,
        "SCORING_TIMEOUT_MS": str(settings.request_timeout_ms),
        "HOSTNAME": files.id,
    }
    if (model := files.model(template)) is not None:
        contract["AZUREML_MODEL_DIR"] = str(model)
    return {
        **ours,
        "PATH": f"{python.parent}:{base.get('PATH', '/usr/bin:/bin')}",
        "VIRTUAL_ENV": str(python.parent.parent),
        "PYTHONUNBUFFERED": "1",  # what is printed is in the log at once
        "PYTHONFAULTHANDLER": "1",  # a crash in native code leaves a traceback
        **dict.fromkeys(_THREAD_VARIABLES, threads),
        **contract,
        **user,
        "PENSTOCK_AUTH_POLICY": str(files.policy),
        "PENSTOCK_FAILURE_FILE": str(files.failure),
        "PENSTOCK_MAX_CONCURRENT": str(settings.max_concurrent_requests_per_instance),
        "PENSTOCK_MAX_QUEUE_WAIT_MS": str(settings.max_queue_wait_ms),
        "PENSTOCK_DRAIN_SECONDS": str(drain),
    }
