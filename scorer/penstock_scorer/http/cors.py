"""Cross-origin headers, only when ``AML_CORS_ORIGINS`` names origins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Headers

METHODS = "GET, POST"


class Cors:
    """Which origins may read answers in a browser. ``*`` stands for all."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._all = "*" in origins
        self._origins = {origin.lower() for origin in origins}

    def headers(self, get: Any, method: str) -> Headers:
        """Headers for a request whose headers ``get`` looks up; none for a stranger's origin."""
        origin = get("origin")
        if origin is None or not (self._all or origin.lower() in self._origins):
            return []
        headers = [("access-control-allow-origin", origin), ("vary", "Origin")]
        if method == "OPTIONS" and get("access-control-request-method"):
            headers.append(("access-control-allow-methods", METHODS))
            wanted = get("access-control-request-headers")
            if wanted:
                headers.append(("access-control-allow-headers", wanted))
        return headers
