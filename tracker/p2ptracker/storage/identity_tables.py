"""Tables of who is who: hosts, operators, how they got in, and what people did."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "audit",
    "company_joins",
    "enrolment_alarms",
    "enrolments",
    "join_tokens",
    "operator_certificates",
    "refused_serials",
    "rings_to_rotate",
    "tables",
]

tables = sa.MetaData()

join_tokens = sa.Table(
    "join_tokens",
    tables,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("issued_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float),
    sa.Index("join_tokens_by_host", "host"),
)
"""``digest``: BLAKE3 of the secret.  A used one stays for a while, to tell theft from a typo."""

company_joins = sa.Table(
    "company_joins",
    tables,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float),
)
"""Hosts that may join once by a certificate of the company's CA."""

enrolments = sa.Table(
    "enrolments",
    tables,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("enrolment", sa.BigInteger, nullable=False),
    sa.Column("floor", sa.BigInteger, nullable=False),
    sa.Column("enrolled_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("public_key", sa.LargeBinary, nullable=False, server_default=sa.text("x''")),
)
"""``enrolment``: the last one; ``floor``: the least that is believed.  Both only ever rise."""

enrolment_alarms = sa.Table(
    "enrolment_alarms",
    tables,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)
"""The newest thousand."""

operator_certificates = sa.Table(
    "operator_certificates",
    tables,
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("issued_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("issued_by", sa.Text, nullable=False),
    sa.Column("renewed_from", sa.Text, nullable=False),
)
"""``roles``: a JSON list.  Whether one was taken back stands in ``refused_serials``."""

refused_serials = sa.Table(
    "refused_serials",
    tables,
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("refused_at", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
"""Certificates of operators that are refused before they expire.  Never deleted."""

rings_to_rotate = sa.Table(
    "rings_to_rotate",
    tables,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("revocations", sa.BigInteger, nullable=False),
)
"""Cells that had so many ``revocations`` since their newest gossip key was made."""

audit = sa.Table(
    "audit",
    tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""Rows are only ever inserted.  ``document``: a ``p2pdeploy.messages.audit.AuditEntry`` in JSON."""
