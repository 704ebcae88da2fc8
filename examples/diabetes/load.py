"""A few clients that send requests without a pause and remember what came back."""

import http
import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Answers:
    """What came back: seconds for each, who answered, and every failure."""

    seconds: list[float] = field(default_factory=list)
    deployments: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return len(self.seconds)

    def percentile(self, percent: int) -> float:
        """In milliseconds."""
        return sorted(self.seconds)[min(self.count - 1, self.count * percent // 100)] * 1000 if self.seconds else 0.0


class Load:
    """`clients` connections, each kept open, each sending its next request once the last one is answered."""

    def __init__(self, uri: str, key: str, body: bytes, clients: int) -> None:
        self.answers = Answers()
        self._uri, self._body, self._clients = urlsplit(uri), body, clients
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._lock = threading.Lock()
        self._left: int | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, requests: int | None = None) -> None:
        """Begin; `requests` in all, or until `stop`."""
        self._left = requests
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> Answers:
        for thread in self._threads:
            thread.join()
        return self.answers

    def stop(self) -> Answers:
        self._stop.set()
        return self.wait()

    def fresh(self) -> Answers:
        """Begin a new count; returns the answers so far."""
        with self._lock:
            answers, self.answers = self.answers, Answers()
        return answers

    def _take(self) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0

    def _client(self) -> None:
        link = http.client.HTTPConnection(self._uri.hostname or "", self._uri.port, timeout=30)
        while not self._stop.is_set() and self._take():
            with self._lock:
                answers = self.answers  # a request counts where it began
            started = time.perf_counter()
            try:
                link.request("POST", self._uri.path, self._body, self._headers)
                response = link.getresponse()
                response.read()
                outcome = "" if response.status == http.HTTPStatus.OK else f"HTTP {response.status}"
                deployment = response.getheader("azureml-model-deployment", "?")
            except (OSError, http.client.HTTPException) as error:
                outcome, deployment = type(error).__name__, ""
                link.close()
            with self._lock:
                answers.seconds.append(time.perf_counter() - started)
                if outcome:
                    answers.failures[outcome] += 1
                else:
                    answers.deployments[deployment] += 1
        link.close()
