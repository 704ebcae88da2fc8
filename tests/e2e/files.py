"""The files a user would have: YAML and a score.py, as small as they can be, so that a test costs what it tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.platform import Platform

SCORE = """\
import os

def init():
    pass

def run(data):
    return {"deployment": os.environ["SERVICE_VERSION"], "pid": os.getpid()}
"""
"""Answers at once, and says who answers."""

ENVIRONMENT = f"""\
name: plain
dependencies: [python={sys.version_info.major}.{sys.version_info.minor}]
"""
"""Nothing beside the scorer; built once for each home."""


def endpoint_yaml(folder: Path, name: str, auth_mode: str = "key") -> Path:
    """An endpoint."""
    return written(folder / f"{name}.yml", f"name: {name}\nauth_mode: {auth_mode}\n")


def deployment_yaml(
    folder: Path,
    endpoint: str,
    name: str,
    *,
    score: str = SCORE,
    environment: str = ENVIRONMENT,
    instances: int = 1,
    variables: Mapping[str, str] | None = None,
    concurrent: int = 50,
    timeout_ms: int = 30000,
) -> Path:
    """A deployment whose ``score.py`` is ``score``, in a folder of its own below ``folder``."""
    own = folder / endpoint / name
    written(own / "src" / "score.py", score)
    written(own / "conda.yml", environment)
    lines = [f"  {key}: '{value}'" for key, value in (variables or {}).items()]
    return written(
        own / "deployment.yml",
        f"""\
name: {name}
endpoint_name: {endpoint}
code_configuration:
  code: src
  scoring_script: score.py
environment:
  conda_file: conda.yml
instance_count: {instances}
request_settings:
  request_timeout_ms: {timeout_ms}
  max_concurrent_requests_per_instance: {concurrent}
  max_queue_wait_ms: 10000
"""
        + ("environment_variables:\n" + "\n".join(lines) + "\n" if lines else ""),
    )


def serve(
    platform: Platform, folder: Path, endpoint: str, *names: str, instances: int = 1, auth_mode: str = "key"
) -> str:
    """An endpoint with these deployments, all traffic to the first; its key, or a token."""
    platform.cli("online-endpoint", "create", "-f", endpoint_yaml(folder, endpoint, auth_mode))
    for number, name in enumerate(names):
        path = deployment_yaml(folder, endpoint, name, instances=instances)
        platform.cli("online-deployment", "create", "-f", path, *(["--all-traffic"] if number == 0 else []))
    return platform.key(endpoint) if auth_mode == "key" else platform.token(endpoint)


def written(path: Path, text: str) -> Path:
    """``path``, with ``text`` in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
