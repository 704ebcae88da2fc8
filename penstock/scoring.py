"""Requests to an endpoint's scoring URI, over plain HTTP from the standard library.

One request with a key is all the client needs; whoever sends many brings an HTTP client of their own.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from penstock.errors import InvokeError


@dataclass(frozen=True, slots=True)
class ScoringResponse:
    """What an endpoint answered."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def deployment(self) -> str:
        """The deployment that answered."""
        return self.headers.get("azureml-model-deployment", "")

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def post(uri: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float, ca: str = "") -> ScoringResponse:
    """Send one request and read the answer, whatever its status.

    ``ca`` is a file with certificates to trust besides the machine's.

    Raises:
        InvokeError: nothing answered, or not in time, or its certificate is not trusted.
    """
    url = urlsplit(uri)
    link = _link(url, timeout_seconds, ca)
    try:
        link.request("POST", url.path + (f"?{url.query}" if url.query else ""), body, dict(headers))
        answer = link.getresponse()
        return ScoringResponse(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    except TimeoutError:
        raise InvokeError(f"{uri} did not answer within {timeout_seconds:g} s") from None
    except ssl.SSLCertVerificationError as error:
        hint = "PENSTOCK_CA names a file with the certificate to trust"
        raise InvokeError(f"{uri} is not trusted: {error.verify_message}", hint=hint) from None
    except (OSError, http.client.HTTPException) as error:
        raise InvokeError(f"{uri} cannot be reached: {error}", hint="`penstock status` tells what runs") from None
    finally:
        link.close()


def _link(url: SplitResult, timeout_seconds: float, ca: str) -> http.client.HTTPConnection:
    if url.scheme != "https":
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout_seconds)
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(ca)
        except OSError as error:  # SSLError is one
            raise InvokeError(f"{ca} holds no certificate to trust: {error.strerror or error}") from None
    return http.client.HTTPSConnection(url.hostname or "", url.port, timeout=timeout_seconds, context=context)


def encode(data: Any) -> bytes:
    """The request body: bytes and text as they are, anything else as JSON."""
    if isinstance(data, bytes):
        return data
    return data.encode() if isinstance(data, str) else json.dumps(data).encode()


def checked(response: ScoringResponse, endpoint: str) -> ScoringResponse:
    """``response`` when it is a 200.

    Raises:
        InvokeError: it is not; the message has what the endpoint said.
    """
    if response.status == http.HTTPStatus.OK:
        return response
    said = _message(response) or http.client.responses.get(response.status, "")
    raise InvokeError(
        f"'{endpoint}' answered {response.status}: {said}",
        status=response.status,
        body=response.text,
        hint=_HINTS.get(response.status, ""),
    )


_HINTS = {
    424: "the deployment's log has the traceback: `penstock online-deployment get-logs`",
    503: "no instance is ready: `penstock online-deployment show` tells why",
}


def _message(response: ScoringResponse) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text.strip()
    if isinstance(body, dict):
        error = body.get("error")
        found = error.get("message") if isinstance(error, dict) else body.get("message")
        return str(found or "") or response.text.strip()
    return response.text.strip()
