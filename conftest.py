"""What every test of both distributions shares."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, settings

# Machines are noisy: a property is about answers, never about how long they took to come.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")

# pytest-asyncio asks for the current loop before each test, and would thereby make one that nobody closes.
asyncio.set_event_loop(None)
