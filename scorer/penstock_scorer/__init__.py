"""The model server of Penstock: a user's ``score.py`` behind HTTP.

The flow: :mod:`penstock_scorer.cli` reads the settings, :mod:`~penstock_scorer.supervision` forks the
workers, a worker loads the script (:mod:`~penstock_scorer.contract`) and serves it:
:mod:`~penstock_scorer.http` takes a request off the wire, :mod:`~penstock_scorer.dataplane` queues it, runs
it and answers. Nothing here depends on the rest of Penstock, and nothing heavier than granian is imported,
because this package lives in the user's own environment.

A script may import :func:`batched` and :class:`Stream` from here.
"""

from penstock_scorer.batching.policy import batched
from penstock_scorer.contract.streams import Stream

__all__ = ["Stream", "batched"]
__version__ = "0.1.0"
