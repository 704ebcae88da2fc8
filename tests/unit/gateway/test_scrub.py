from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.scrub import MAX_LENGTH, scrub

KEY = "Xk29fjQpL0a8ZmW3vB7nTq5rYs1uE6cD"


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        sha256(b"key").hexdigest(),
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ\nIBADANBg\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ cut off",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl0123456789",
    ],
)
def test_secrets_are_removed(secret: str) -> None:
    text = scrub(f"Proto constraint validation failed: key: {secret} is too short")
    assert "[removed]" in text
    for line in secret.splitlines():
        assert line not in text


def test_envoys_own_words_stay() -> None:
    text = (
        "Didn't find an implementation of 'envoy.filters.http.nope': 'envoy.extensions.filters.http.lua.v3.LuaPerRoute'"
    )
    assert scrub(text) == text


def test_one_line_of_bounded_length() -> None:
    text = scrub("cause\n\x1b[31mfirst " + "word " * 500)
    assert text.startswith("cause [31mfirst")
    assert len(text) == MAX_LENGTH
