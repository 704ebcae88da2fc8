"""What a user waits for: from `online-deployment create` to the first answer, and what the gateway adds to a request.

Goal of the project: the first 200 in under 3 s, with the environment cached and beyond the user's own imports.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from penstock.v1.instance_pb2 import Instance
from tests.e2e.files import deployment_yaml, serve
from tests.e2e.load import Aim, Tally, aim, send
from tests.e2e.platform import Platform, new_platform, remove

CREATES = 5
ROUNDS = 4
REQUESTS = 4_000


def main() -> None:
    """Print the figures."""
    print(f"load of the machine: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    platform = new_platform()
    try:
        platform.start()
        with tempfile.TemporaryDirectory() as folder:
            key = serve(platform, Path(folder), "house", "blue")
            _first_answers(platform, Path(folder), key)
        _direct_and_through_the_gateway(platform, key)
    finally:
        platform.destroy()
        remove(platform)


def _first_answers(platform: Platform, folder: Path, key: str) -> None:
    answered, returned = [], []
    for number in range(CREATES):
        name = f"green{number}"
        path = deployment_yaml(folder, "house", name, variables={"NUMBER": str(number)})
        begun = time.perf_counter()
        creating = threading.Thread(target=platform.cli, args=("online-deployment", "create", "-f", path))
        creating.start()
        pinned = {"azureml-model-deployment": name}
        while platform.score("house", {}, key=key, headers=pinned).status != 200:  # noqa: PLR2004
            time.sleep(0.01)
        answered.append(time.perf_counter() - begun)
        creating.join()
        returned.append(time.perf_counter() - begun)
        platform.cli("online-deployment", "delete", "-n", name, "-e", "house", "--yes")
    print(
        f"from `online-deployment create` to the first 200: median {statistics.median(answered):.2f} s, best "
        f"{min(answered):.2f} s; until the command returns: {statistics.median(returned):.2f} s (environment cached)"
    )


def _direct_and_through_the_gateway(platform: Platform, key: str) -> None:
    with platform.client() as client:
        (instance,) = client.deployments.instances("house", "blue")
    ways = {
        "direct": Aim(key, "/score", socket=_socket(platform, instance)),
        "gateway": aim(platform.gateway_port, "house", key),
    }
    for connections in (1, 4):
        tallies = {way: Tally() for way in ways}
        for _ in range(ROUNDS):
            for way, target in ways.items():
                tally = send(target, REQUESTS // ROUNDS, connections=connections)
                tallies[way].seconds += tally.seconds
                tallies[way].failures += tally.failures
        direct, gateway = tallies["direct"], tallies["gateway"]
        print(f"{connections} connections, {REQUESTS} requests each way in {ROUNDS} rounds:")
        for percent in (50, 99):
            a, b = direct.percentile(percent), gateway.percentile(percent)
            print(f"  p{percent}: direct {a:.2f} ms, through the gateway {b:.2f} ms: {b - a:+.2f} ms, x {b / a:.2f}")
        print(f"  failed: {len(direct.failures)} and {len(gateway.failures)}")


def _socket(platform: Platform, instance: Instance) -> str:
    return str(platform.home / "run" / f"{instance.name.rpartition('/')[2]}.sock")


if __name__ == "__main__":
    main()
