"""Many requests, one call of the script, and every answer back to its own caller.

Transport-free, and without threads or clocks of its own: :mod:`~penstock_scorer.batching.policy` says what may
be merged, :mod:`~penstock_scorer.batching.collector` takes it out of the queue,
:mod:`~penstock_scorer.batching.outcome` calls the script and sorts out whose answer is whose, and
:mod:`~penstock_scorer.batching.arrays` joins and splits tensors for ``infer``.
"""
