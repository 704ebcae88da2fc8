"""From the intermediate form to Envoy's resources: one file per Envoy concern, each a pure function.

Envoy's protos stay in here (they carry no type information and many names); what leaves is
:class:`gateway.snapshot.Resource`, plain bytes.
"""
