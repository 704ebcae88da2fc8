"""An inference as JSON, with or without binary tensors.

Needs numpy only on the slot's thread, where tensors are: the transport's thread makes these before there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.arrays import Share
from penstock_scorer.dataplane import answers
from penstock_scorer.inference.small import PLAIN, write
from penstock_scorer.inference.task import Inference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock_scorer.dataplane.job import Headers
    from penstock_scorer.inference.messages import InferRequest, Output
    from penstock_scorer.inference.served import Served
    from penstock_scorer.inference.small import Forms


class RestInference(Inference):
    """One request that came over HTTP.

    Args:
        served: As for every :class:`~penstock_scorer.inference.task.Inference`.
        headers: The same.
        body: The whole body.
        header_length: The header ``Inference-Header-Content-Length``, if it was sent.
        forms: What is known of requests before it.
    """

    __slots__ = ("_body", "_forms", "_header_length")

    def __init__(
        self, served: Served, headers: Callable[[], Headers], body: bytes, header_length: str | None, forms: Forms
    ) -> None:
        super().__init__(served, headers)
        self._body = body
        self._header_length = header_length
        self._forms = forms

    def inputs(self) -> Mapping[str, Any] | None:
        """The tensors, as every task's; small ones may not be arrays yet."""
        if not self._served.merges or self._header_length is not None:
            return super().inputs()
        flat = self._forms.read(self._body)
        if flat is not None:
            self.request = PLAIN
            return flat
        inputs = super().inputs()
        if self.request is not None:
            self._forms.learn(self._body, self.request)
        return inputs

    def parse(self) -> InferRequest:
        """Read the body."""
        from penstock_scorer.inference import rest  # noqa: PLC0415

        return rest.parse(self._body, self._header_length)

    def encode(self, result: Any) -> tuple[Headers, bytes]:
        """The answer's headers and body."""
        if type(result) is Share and self.request is PLAIN:
            text = write(self._served.model, result)
            if text is not None:
                return [answers.CONTENT_JSON], text
        return super().encode(result)

    def write(self, request: InferRequest, outputs: list[Output]) -> tuple[Headers, bytes]:
        """Write the body."""
        from penstock_scorer.inference import rest  # noqa: PLC0415

        return rest.encode(self._served.model, request, outputs)
