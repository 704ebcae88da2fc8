"""Cross-origin headers, only when ``AML_CORS_ORIGINS`` names origins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Headers

METHODS = ("GET", "POST")


class Cors:
    """Which origins may read answers in a browser. ``*`` stands for all. As flask-cors answers, which the peer uses."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._all = "*" in origins
        self._origins = {origin.lower() for origin in origins}
        self._vary: Headers = [("vary", "Origin")] if self._all or len(self._origins) > 1 else []
        # Without an Origin header no browser is asking; the first one named is told all the same.
        self._unasked: Headers = [("access-control-allow-origin", "*" if self._all else min(origins))]
        if not self._all:
            self._unasked += self._vary

    def headers(self, get: Any, method: str) -> Headers:
        """Headers for a request whose headers ``get`` looks up; none for a stranger's origin."""
        origin = get("origin")
        if not origin:
            return self._unasked
        if not (self._all or origin.lower() in self._origins):
            return []
        headers = [("access-control-allow-origin", origin)]
        if origin != "*":
            headers += self._vary
        if method == "OPTIONS" and get("access-control-request-method", "").upper() in METHODS:
            headers.append(("access-control-allow-methods", ", ".join(METHODS)))
            wanted = get("access-control-request-headers")
            if wanted:
                names = sorted(name.strip() for name in wanted.split(","))
                headers.append(("access-control-allow-headers", ", ".join(names)))
        return headers
