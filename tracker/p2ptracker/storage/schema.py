"""The versions of the tables, and the steps from one to the next.

A fresh database is made from the tables as they stand in ``*_tables``; an older one takes the
steps it lacks, each in the transaction that records it.  Why no migration framework: one program
writes this database, the steps are a list in that program, and the wheel needs no script folder.

Portable on purpose: explicit keys, no triggers, no engine-specific types.  Times are seconds
since the epoch.
"""

from __future__ import annotations

import sqlalchemy as sa

from p2pdeploy.errors import ConfigError
from p2ptracker.storage import cell_tables, identity_tables, release_tables

__all__ = ["STEPS", "VERSION", "upgrade"]

_versions = sa.Table(
    "schema_version", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True)
)
_AREAS = (release_tables.tables, cell_tables.tables, identity_tables.tables)

# Step n leads from version n to n + 1, as portable SQL statements.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE audit (seq INTEGER NOT NULL PRIMARY KEY, digest TEXT NOT NULL,"
        " document BLOB NOT NULL)",
    ),
    (
        "CREATE TABLE join_tokens (digest BLOB NOT NULL PRIMARY KEY, host TEXT NOT NULL,"
        " issued_at FLOAT NOT NULL, expires_at FLOAT NOT NULL, used_at FLOAT)",
        "CREATE INDEX join_tokens_by_host ON join_tokens (host)",
        "CREATE TABLE enrolments (host TEXT NOT NULL PRIMARY KEY, enrolment BIGINT NOT NULL,"
        " floor BIGINT NOT NULL, enrolled_at FLOAT, revoked_at FLOAT, reason TEXT NOT NULL)",
        "CREATE TABLE refused_serials (serial TEXT NOT NULL PRIMARY KEY,"
        " refused_at FLOAT NOT NULL, reason TEXT NOT NULL)",
        "CREATE TABLE enrolment_alarms (seq INTEGER NOT NULL PRIMARY KEY, at FLOAT NOT NULL,"
        " host TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL)",
    ),
    (
        "CREATE TABLE release_documents (name TEXT NOT NULL PRIMARY KEY, document BLOB NOT NULL)",
        "CREATE TABLE release_proposals (service TEXT NOT NULL, version TEXT NOT NULL,"
        " proposed_at FLOAT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (service, version))",
        "ALTER TABLE releases DROP COLUMN envelope",
    ),
    (
        "CREATE TABLE company_joins (host TEXT NOT NULL PRIMARY KEY, opened_at FLOAT NOT NULL,"
        " expires_at FLOAT NOT NULL, used_at FLOAT)",
    ),
    (
        "CREATE TABLE operator_certificates (serial TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
        " roles TEXT NOT NULL, issued_at FLOAT NOT NULL, expires_at FLOAT NOT NULL,"
        " issued_by TEXT NOT NULL, renewed_from TEXT NOT NULL)",
    ),
    (
        "ALTER TABLE orders ADD COLUMN issued BOOLEAN NOT NULL DEFAULT 0",
        "CREATE TABLE key_rotations (role TEXT NOT NULL PRIMARY KEY, document BLOB NOT NULL)",
    ),
    ("ALTER TABLE enrolments ADD COLUMN public_key BLOB NOT NULL DEFAULT x''",),
    (
        "CREATE TABLE highest_numbers (cell TEXT NOT NULL, kind TEXT NOT NULL,"
        " service TEXT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (cell, kind, service))",
    ),
    ("CREATE TABLE rings_to_rotate (cell TEXT NOT NULL PRIMARY KEY, revocations BIGINT NOT NULL)",),
    ("CREATE TABLE spreads (rollout TEXT NOT NULL PRIMARY KEY, document BLOB NOT NULL)",),
    (
        "CREATE TABLE rate_limits (scope TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,"
        " download_bytes_per_s BIGINT, upload_bytes_per_s BIGINT, set_at FLOAT NOT NULL,"
        " PRIMARY KEY (scope, name, kind))",
    ),
)
VERSION = len(STEPS) + 1


def upgrade(connection: sa.Connection) -> None:
    """Bring the database to this program's version, inside the caller's transaction.

    Raises:
        ConfigError: the database was written by a newer program; nothing was changed.
    """
    if not sa.inspect(connection).has_table(_versions.name):
        for tables in (_versions.metadata, *_AREAS):
            tables.create_all(connection)
        connection.execute(_versions.insert().values(number=VERSION))
        return
    found = connection.execute(sa.select(sa.func.max(_versions.c.number))).scalar_one()
    if found > VERSION:
        raise ConfigError(
            f"the database has schema {found}, this program knows {VERSION}",
            hint="run the newer p2ptracker that wrote it",
            code="schema-too-new",
        )
    for number, statements in enumerate(STEPS[found - 1 :], start=found + 1):
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.execute(_versions.insert().values(number=number))
