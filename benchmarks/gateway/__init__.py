"""Benchmarks of the gateway, on a real Envoy."""
