"""A database as the first version of the program made it."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["step_back"]

_LATER_TABLES = (
    "audit",
    "join_tokens",
    "company_joins",
    "enrolments",
    "refused_serials",
    "enrolment_alarms",
    "release_documents",
    "release_proposals",
    "operator_certificates",
    "key_rotations",
    "highest_numbers",
    "rings_to_rotate",
    "spreads",
    "rate_limits",
)


def step_back(connection: sa.Connection) -> None:
    """Undo every step of the schema."""
    for table in _LATER_TABLES:
        connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql("ALTER TABLE releases ADD COLUMN envelope BLOB")
    connection.exec_driver_sql("ALTER TABLE orders DROP COLUMN issued")
    connection.exec_driver_sql("DELETE FROM schema_version")
    connection.exec_driver_sql("INSERT INTO schema_version VALUES (1)")
