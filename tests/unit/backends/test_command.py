"""What an instance is started with."""

from pathlib import Path

from controlplane.backends.process.command import instance_environment
from controlplane.backends.process.instance_files import InstanceFiles
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.specs import RequestSettings

BASE = {
    "PATH": "/bin",
    "HOME": "/home/u",
    "LC_ALL": "C",
    "CUDA_VISIBLE_DEVICES": "GPU-7",
    "AWS_SECRET": "s",
    "PENSTOCK_X": "s",
}


def made(cores: int = 8, **variables: str) -> dict[str, str]:
    template = InstanceTemplate(
        endpoint="house",
        deployment="blue",
        scoring_script="score.py",
        environment_variables=variables,
        request_settings=RequestSettings(request_timeout_ms=2500, max_concurrent_requests_per_instance=3),
    )
    return instance_environment(Path("/venv/bin/python"), InstanceFiles(Path("/i/abc")), template, BASE, cores)


def test_little_of_ours_is_passed_on() -> None:
    env = made()
    assert {name: value for name, value in env.items() if value in BASE.values()} == {
        "HOME": "/home/u",
        "LC_ALL": "C",
        "CUDA_VISIBLE_DEVICES": "GPU-7",
    }
    assert env["PATH"] == "/venv/bin:/bin"


def test_the_users_word_holds_over_the_contracts() -> None:
    assert made()["SCORING_TIMEOUT_MS"] == "2500"
    assert made(SCORING_TIMEOUT_MS="9", OMP_NUM_THREADS="2")["SCORING_TIMEOUT_MS"] == "9"
    assert made(OMP_NUM_THREADS="2")["OMP_NUM_THREADS"] == "2"


def test_workers_share_the_cores() -> None:
    assert made()["OMP_NUM_THREADS"] == "8"
    assert made(WORKER_COUNT="3")["OPENBLAS_NUM_THREADS"] == "2"
    assert made(WORKER_COUNT="30")["MKL_NUM_THREADS"] == "1"
    assert made(WORKER_COUNT="many")["OMP_NUM_THREADS"] == "8"


def test_a_drain_is_as_long_as_a_request_may_take() -> None:
    assert made()["PENSTOCK_DRAIN_SECONDS"] == "4"
