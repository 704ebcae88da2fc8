"""Memory stays flat over 200,000 requests, whatever kind they are."""

import contextlib
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]

REQUESTS = 200_000
CONNECTIONS = 8
SCRIPTS = {
    "plain": "import json\ndef init(): pass\n"
    "def run(data):\n    if 'boom' in data: raise ValueError(data)\n    return json.loads(data)",
    "batched": "import json\nfrom penstock_scorer import batched\ndef init(): pass\n"
    "@batched()\ndef run(inputs):\n    if any('boom' in i for i in inputs): raise ValueError(inputs)\n"
    "    return [json.loads(i) for i in inputs]",
    "async": "import json\ndef init(): pass\n"
    "async def run(data):\n    if 'boom' in data: raise ValueError(data)\n    return json.loads(data)",
    "stream": "def init(): pass\n"
    "def run(data):\n    if 'boom' in data: raise ValueError(data)\n    yield data\n    yield 'x'",
}


def private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("Private_Dirty:")[1].split()[0])


@pytest.mark.parametrize("kind", SCRIPTS)
def test_memory_is_flat(serve: Any, kind: Any) -> None:
    server = serve(SCRIPTS[kind], PENSTOCK_MAX_CONCURRENT="4")
    (pid,) = server.workers()
    rounds = 20
    each = REQUESTS // rounds // CONNECTIONS

    def caller(number: int) -> None:
        connection = server.connection()
        for index in range(each):
            # One in a thousand fails, and one in fifty clients leaves before its answer.
            body = "boom" if index % 1000 == 999 else json.dumps({"data": [number, index]})
            connection.request("POST", "/score", body)
            if index % 50 == 49:
                connection.close()
                continue
            with contextlib.suppress(http.client.IncompleteRead):
                connection.getresponse().read()
        connection.close()

    sizes = []
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in range(rounds):
            list(pool.map(caller, range(CONNECTIONS)))
            sizes.append(private_kib(pid))
    print(f"{kind}: private memory in KiB after each {REQUESTS // rounds} requests: {sizes}")  # noqa: T201 - the figures are the point
    assert server.workers() == [pid]
    # Flat: the second half adds next to nothing. A leak of 16 bytes a request would show as 1,600 KiB.
    assert sizes[-1] - min(sizes[rounds // 2 :]) < 1500
