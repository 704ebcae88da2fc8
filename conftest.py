"""What every test of both distributions shares."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines are noisy: a property is about answers, never about how long they took to come.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")
