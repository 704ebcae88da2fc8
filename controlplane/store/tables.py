"""The tables. What is asked for in SQL is a column; the rest of a spec is one JSON text (:mod:`.codec`).

Foreign keys hold what must not happen even by mistake: a model in use cannot go, nor a deployment with instances, nor
an endpoint with deployments.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """A moment as whole microseconds since 1970 in UTC: the same in every database, and exact."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

assets = Table(
    "assets",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("basename", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created", Moment, nullable=False),
)

# The id counts up with registration: the highest is the latest.
models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("version", String(50), nullable=False),
    Column("etag", String(32), nullable=False),
    Column("asset", ForeignKey("assets.sha256", ondelete="RESTRICT"), nullable=False, index=True),
    Column("spec", Text, nullable=False),
    Column("created", Moment, nullable=False),
    UniqueConstraint("name", "version"),
    sqlite_autoincrement=True,
)

environments = Table(
    "environments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("version", String(50), nullable=False),
    Column("etag", String(32), nullable=False),
    Column("asset", ForeignKey("assets.sha256", ondelete="RESTRICT"), index=True),
    Column("spec", Text, nullable=False),
    Column("created", Moment, nullable=False),
    UniqueConstraint("name", "version"),
    sqlite_autoincrement=True,
)

# The highest integer version ever given to a name: one that was deleted is not given again.
version_counters = Table(
    "version_counters",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("last", BigInteger, nullable=False),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("uid", String(32), primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("etag", String(32), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("spec", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    Column("deleting", Boolean, nullable=False),
    Column("salt", String(64), nullable=False),
    Column("client_keys", Text, nullable=False),
    Column("effective_traffic", Text, nullable=False),
    Column("tokens_not_before", BigInteger, nullable=False, server_default="0"),
)

# What signs tokens: public parts in clear, private ones encrypted (see .vault).
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(32), primary_key=True),
    Column("x", String(64), nullable=False),
    Column("y", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", Moment, nullable=False),
    Column("signs_from", Moment),
    Column("last_expiry", Moment),
)

# The keys themselves, encrypted (see .vault). The platform works with their digests, in `endpoints.client_keys`.
secrets = Table(
    "secrets",
    metadata,
    Column("endpoint_uid", ForeignKey("endpoints.uid", ondelete="CASCADE"), primary_key=True),
    Column("name", String(16), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("uid", String(32), primary_key=True),
    Column("endpoint_uid", ForeignKey("endpoints.uid", ondelete="RESTRICT"), nullable=False),
    Column("name", String(32), nullable=False),
    Column("etag", String(32), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("spec", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    Column("deleting", Boolean, nullable=False),
    Column("ready_instances", Integer, nullable=False),
    Column("fallback", Text),
    Column("model_id", ForeignKey("models.id", ondelete="RESTRICT"), index=True),
    Column("environment_id", ForeignKey("environments.id", ondelete="RESTRICT"), index=True),
    Column("code_asset", ForeignKey("assets.sha256", ondelete="RESTRICT"), index=True),
    UniqueConstraint("endpoint_uid", "name"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("deployment_uid", ForeignKey("deployments.uid", ondelete="RESTRICT"), nullable=False, index=True),
    Column("template_hash", String(64), nullable=False),
    Column("created", Moment, nullable=False),
    Column("draining", Boolean, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("target", String(128), nullable=False),
    Column("target_uid", String(32), nullable=False),
    Column("verb", String(16), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created", Moment, nullable=False),
    Column("ended", Moment),
    Column("progress", Text, nullable=False),
    Column("error", Text),
    Index(None, "target_uid", "ended"),
    Index(None, "created", "id"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False, index=True),
    Column("actor", String(255), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("target", String(512), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("generation", BigInteger, nullable=False),
)
