"""Who may call with a token: its signature is checked by ``jwt_authn``, its claims by the route's own RBAC.

The keys come over extension discovery (ECDS), not with the listener: a rotation replaces this one filter, and no
connection is drained for it. What an endpoint asks of a token (its name in it, issued late enough) comes with the
endpoint's route: revocation is one RouteConfiguration.

The filter names the client (claim ``sub``) in the header the backstop looks for. The listener's own backstop refuses
whatever carries a verified token, so that a token passes only where the route's RBAC has read its claims.
"""

from __future__ import annotations

import json

from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2
from envoy.config.rbac.v3 import rbac_pb2 as policy_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from envoy.type.matcher.v3 import metadata_pb2, number_pb2, string_pb2, value_pb2
from envoy.type.v3 import range_pb2
from google.protobuf import empty_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway.routes import TokenTrust
from gateway.snapshot import Resource, ResourceType
from gateway.translate import messages, names

FILTER = "envoy.filters.http.jwt_authn"
NOBODY = TokenTrust(issuer="penstock", audience="penstock")
"""What is trusted before the control plane has said anything: no key, so no token."""
CLOCK_SKEW_S = 5
"""Seconds a gateway's clock may differ from the one that signed. Envoy's default of 60 would serve expired tokens."""
CACHED_TOKENS = 1000
"""Verified tokens remembered by each worker: ECDSA takes 100 us, a look 2 us."""

_PROVIDER = "penstock"
_PAYLOAD = "jwt"
_FAR_FUTURE = 2.0**53


def token_filter(trust: TokenTrust) -> Resource:
    """The filter's configuration as a resource of its own; the listener names it."""
    config = _verify(trust) if trust.keys else _refuse()
    message = extension_pb2.TypedExtensionConfig(name=FILTER, typed_config=messages.pack(config))
    return messages.resource(ResourceType.EXTENSION, FILTER, message)


def discovery() -> config_source_pb2.ExtensionConfigSource:
    """The listener's side: where the filter's configuration comes from. Nothing is served before it is there."""
    return config_source_pb2.ExtensionConfigSource(
        config_source=messages.ads(),
        type_urls=[f"type.googleapis.com/{config_pb2.JwtAuthentication.DESCRIPTOR.full_name}"],
    )


def requirement() -> AnyMessage:
    """The route's side: a token is needed here. Routes without it (those with keys) are let through to the backstop."""
    return messages.pack(config_pb2.PerRouteConfig(requirement_name=_PROVIDER))


def verified() -> policy_pb2.Principal:
    """Whoever brought a genuine token, whatever it is for."""
    return _claim("endpoint", value_pb2.ValueMatcher(present_match=True))


def holder(endpoint: str, not_before: int) -> policy_pb2.Principal:
    """Whoever brought a token for ``endpoint`` that was issued at ``not_before`` (unix seconds) or later."""
    name = value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(exact=endpoint))
    late = value_pb2.ValueMatcher(
        double_match=number_pb2.DoubleMatcher(range=range_pb2.DoubleRange(start=not_before, end=_FAR_FUTURE))
    )
    # Two credentials in one request: jwt_authn reads the first alone.
    several = route_components_pb2.HeaderMatcher(
        name="authorization", string_match=string_pb2.StringMatcher(contains=",")
    )
    single = policy_pb2.Principal(not_id=policy_pb2.Principal(header=several))
    ids = [_claim("endpoint", name), _claim("iat", late), single]
    return policy_pb2.Principal(and_ids=policy_pb2.Principal.Set(ids=ids))


def _claim(name: str, value: value_pb2.ValueMatcher) -> policy_pb2.Principal:
    segment = metadata_pb2.MetadataMatcher.PathSegment
    matcher = metadata_pb2.MetadataMatcher(filter=FILTER, path=[segment(key=_PAYLOAD), segment(key=name)], value=value)
    return policy_pb2.Principal(sourced_metadata=policy_pb2.SourcedMetadata(metadata_matcher=matcher))


def _verify(trust: TokenTrust) -> config_pb2.JwtAuthentication:
    keys = [
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key.kid, "x": key.x, "y": key.y}
        for key in trust.keys
    ]
    header = config_pb2.JwtHeader
    provider = config_pb2.JwtProvider(
        issuer=trust.issuer,
        audiences=[trust.audience],
        require_expiration=True,
        local_jwks=base_pb2.DataSource(inline_string=json.dumps({"keys": keys})),
        # The scorer checks the token once more.
        forward=True,
        # Named, because the default reads a query parameter too, which ends up in logs. Schemes know no case.
        from_headers=[header(name="authorization", value_prefix=f"{scheme} ") for scheme in ("Bearer", "bearer")],
        payload_in_metadata=_PAYLOAD,
        clock_skew_seconds=CLOCK_SKEW_S,
        jwt_cache_config=config_pb2.JwtCacheConfig(jwt_cache_size=CACHED_TOKENS),
        claim_to_headers=[config_pb2.JwtClaimToHeader(header_name=names.HEADER_CLIENT, claim_name="sub")],
    )
    return config_pb2.JwtAuthentication(
        providers={_PROVIDER: provider},
        requirement_map={_PROVIDER: config_pb2.JwtRequirement(provider_name=_PROVIDER)},
    )


def _refuse() -> config_pb2.JwtAuthentication:
    """Without keys: Envoy refuses a provider that has none, so nothing is verified and the backstop says 401."""
    anything = config_pb2.JwtRequirement(allow_missing_or_failed=empty_pb2.Empty())
    return config_pb2.JwtAuthentication(requirement_map={_PROVIDER: anything})
