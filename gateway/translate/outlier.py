"""A dead instance is avoided after its first failures, before the control plane has noticed.

Only what happens on the way to an instance counts: connections refused or broken off. A status an instance answered,
however bad, is the model's word on a request and says nothing of the next one. Timeouts do not count either: slow is
not dead, and ejecting the slow one puts its load on the others.

One instance always stays, whatever happens to it: with a panic threshold of 0 an empty choice would be 503 at once,
where the last instance may be failing for one request alone.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import outlier_detection_pb2
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from gateway.translate import messages

CONSECUTIVE_FAILURES = 3
EJECTION_MS = 2_000
"""Milliseconds the first ejection lasts; each further one as long again."""
LONGEST_EJECTION_MS = 30_000
SWEEP_MS = 1_000
"""Milliseconds between looks at whether an ejection is over."""
MAX_EJECTED_PERCENT = 99
"""All but one, of up to a hundred instances."""


def detection() -> outlier_detection_pb2.OutlierDetection:
    """The same for every cluster."""
    never = UInt32Value(value=0)
    return outlier_detection_pb2.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=UInt32Value(value=CONSECUTIVE_FAILURES),
        enforcing_consecutive_local_origin_failure=UInt32Value(value=100),
        enforcing_consecutive_5xx=never,
        enforcing_consecutive_gateway_failure=never,
        enforcing_success_rate=never,
        enforcing_local_origin_success_rate=never,
        interval=messages.duration(SWEEP_MS),
        base_ejection_time=messages.duration(EJECTION_MS),
        max_ejection_time=messages.duration(LONGEST_EJECTION_MS),
        max_ejection_percent=UInt32Value(value=MAX_EJECTED_PERCENT),
        always_eject_one_host=BoolValue(value=False),
    )
