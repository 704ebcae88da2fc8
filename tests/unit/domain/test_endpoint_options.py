from __future__ import annotations

import pytest

from controlplane.domain.checks import check_deployment, check_endpoint
from controlplane.domain.endpoint_options import EndpointOptions, Rate, Retry, Sticky, StickyBy, endpoint_options
from controlplane.domain.errors import InvalidArgumentError
from controlplane.domain.specs import DeploymentSpec, EndpointSpec


def read(**properties: str) -> EndpointOptions:
    options, mistakes = endpoint_options({f"penstock.{key}": value for key, value in properties.items()})
    assert mistakes == ()
    return options


def test_without_properties_there_are_the_defaults() -> None:
    assert endpoint_options({"owner": "me", "penstockish": "x"}) == (EndpointOptions(), ())


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10", Rate(10, 1)),
        ("10/second", Rate(10, 1)),
        (" 100 / minute ", Rate(100, 60)),
        ("1/hour", Rate(1, 3600)),
        ("1000000/day", Rate(1_000_000, 86_400)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert read(rate_limit_per_key=text).rate_limit_per_key == rate


def test_everything_else() -> None:
    assert read(
        max_request_bytes="1048576",
        stream_requests="True",
        retry="unsent",
        sticky="header:X-User",
        sticky_instances="true",
        websocket="true",
        stream_idle_timeout_seconds="60",
    ) == EndpointOptions(None, 1 << 20, True, Retry.UNSENT, Sticky(StickyBy.HEADER, "x-user"), True, 0, True, 60)
    assert read(sticky="cookie:Session", slow_start_seconds="30") == EndpointOptions(
        sticky=Sticky(StickyBy.COOKIE, "Session"), slow_start_seconds=30
    )


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("rate_limit", "1", "did you mean 'penstock.rate_limit_per_key'?"),
        ("zzz", "1", "there are: rate_limit_per_key, max_request_bytes"),
        ("", "1", "is no option"),
        ("rate_limit_per_key", "fast", "is 'fast', and a rate is 1 to 1000000 per second"),
        ("rate_limit_per_key", "0", "a rate is"),
        ("rate_limit_per_key", "1000001", "a rate is"),
        ("rate_limit_per_key", "1/fortnight", "a rate is"),
        ("rate_limit_per_key", "1.5", "a rate is"),
        ("rate_limit_per_key", "", "a rate is"),
        ("max_request_bytes", "0", "a whole number from 1 to 1073741824"),
        ("max_request_bytes", "1MB", "a whole number"),
        ("max_request_bytes", "-1", "a whole number"),
        ("max_request_bytes", "١٢", "a whole number"),
        ("stream_requests", "yes", "true or false"),
        ("retry", "always", "one of unanswered, unsent, never"),
        ("sticky", "x-user", "header:NAME or cookie:NAME"),
        ("sticky", "header:", "header:NAME"),
        ("sticky", "header::path", "header:NAME"),
        ("sticky", "cookie:a b", "header:NAME"),
        ("sticky_instances", "true", "needs 'penstock.sticky'"),
        ("slow_start_seconds", "3601", "from 0 to 3600"),
        ("stream_idle_timeout_seconds", "0", "from 1 to 86400"),
    ],
)
def test_mistakes(key: str, value: str, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_endpoint(EndpointSpec(properties={f"penstock.{key}": value}))
    (violation,) = caught.value.violations
    assert violation.field == f"properties.penstock.{key}"
    assert sentence in violation.description


def test_all_mistakes_are_told_at_once_and_cost_no_other_option() -> None:
    options, mistakes = endpoint_options(
        {"penstock.retry": "x", "penstock.sticky": "y", "penstock.max_request_bytes": "5"}
    )
    assert options == EndpointOptions(max_request_bytes=5)
    assert len(mistakes) == 2


def test_sticky_instances_and_slow_start_contradict_each_other() -> None:
    properties = {"sticky": "header:a", "sticky_instances": "true", "slow_start_seconds": "5"}
    _, mistakes = endpoint_options({f"penstock.{key}": value for key, value in properties.items()})
    assert [mistake.field for mistake in mistakes] == ["properties.penstock.slow_start_seconds"]


def test_a_deployment_has_no_options_of_its_own() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_deployment(DeploymentSpec(code_asset="", properties={"penstock.retry": "never"}))
    assert any("belongs into the endpoint's properties" in v.description for v in caught.value.violations)
