"""The gateway: Envoy, programmed over xDS.

What comes in is the small intermediate form of :mod:`gateway.routes`; what goes out is Envoy's own resources.
Nothing here knows the store, the API or how instances are run.
"""
