"""How the platform is doing: what the gateways say, what the store has and what processes use, put together.

Read by the API (:mod:`controlplane.api.metrics_service`) and served to Prometheus (:mod:`controlplane.metrics.page`).
"""
