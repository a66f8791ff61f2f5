"""The tables, and the steps from one version of them to the next.

A fresh database is made from the tables as they stand here; an older one takes the steps it lacks,
each in the transaction that records it.  Why no migration framework: one program writes this
database, the steps are a list in that program, and the wheel needs no script folder.

Portable on purpose: explicit keys, no triggers, no engine-specific types.  Times are seconds
since the epoch; digests of releases are hexadecimal text, of chunks (many) raw bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

from p2pdeploy.errors import ConfigError

__all__ = [
    "audit",
    "blobs",
    "cell_records",
    "chunks",
    "company_joins",
    "enrolment_alarms",
    "enrolments",
    "highest_numbers",
    "join_tokens",
    "key_rotations",
    "manifests",
    "observations",
    "operator_certificates",
    "orders",
    "refused_serials",
    "release_documents",
    "release_proposals",
    "releases",
    "rollouts",
    "tables",
    "upgrade",
]

tables = sa.MetaData()

_versions = sa.Table("schema_version", tables, sa.Column("number", sa.Integer, primary_key=True))

releases = sa.Table(
    "releases",
    tables,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("manifest_digest", sa.Text, nullable=False),
    sa.Column("published_at", sa.Float, nullable=False),
    sa.Index("releases_by_time", "service", "published_at", "version"),
    sa.Index("releases_by_manifest", "manifest_digest"),
)
"""Rows are only ever inserted: a release is immutable."""

manifests = sa.Table(
    "manifests",
    tables,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("chunk_index", sa.Text, nullable=False),
    sa.Column("info_hash_v2", sa.Text, nullable=False),
    sa.Column("announce_hash", sa.LargeBinary, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("file_count", sa.Integer, nullable=False),
    sa.Column("piece_size_bytes", sa.Integer, nullable=False),
    sa.Index("manifests_by_announce_hash", "announce_hash"),
)
"""``announce_hash``: the first 20 bytes of the v2 info-hash, which is what clients announce."""

blobs = sa.Table(
    "blobs",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)

chunks = sa.Table(
    "chunks",
    tables,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("blob_id", sa.Integer, sa.ForeignKey("blobs.id"), nullable=False),
    sa.Column("offset_bytes", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sqlite_with_rowid=False,  # the digest is the key; a second hidden one would double the table
)
"""Where a chunk can be copied from.  A row is inserted only for bytes that were verified."""

rollouts = sa.Table(
    "rollouts",
    tables,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("is_final", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Index("rollouts_by_service", "service", "created_at", "id"),
    sa.Index("rollouts_open", "is_final", "created_at"),
)
"""``document`` is the orchestrator's own record; the columns are what is searched for."""

cell_records = sa.Table(
    "cell_records",
    tables,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""One cell's rollouts, lease and settled builds: ``p2pdeploy.planning.conducted.Conducted``."""

orders = sa.Table(
    "orders",
    tables,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("version_major", sa.BigInteger, nullable=False),
    sa.Column("version_minor", sa.BigInteger, nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("issued", sa.Boolean, nullable=False, server_default=sa.false()),
)
"""The newest order per register of a cell's state, as sealed.  ``issued``: by this control plane;
others came from the cell, and are never sealed anew: a thief's would be made ours."""

highest_numbers = sa.Table(
    "highest_numbers",
    tables,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""The highest verified number of orders, also of those that are gone.  Never deleted; a rotation
adds at most what a cell's state has room for.  ``service``: empty for leases."""

key_rotations = sa.Table(
    "key_rotations",
    tables,
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""What is under way of each role: ``p2ptracker.keys.rotation.Rotation``."""

observations = sa.Table(
    "observations",
    tables,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("cell", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Index("observations_by_version", "service", "version", "host"),
    sa.Index("observations_by_cell", "cell"),
)
"""Each host's last word on each service; (epoch, seq) never falls."""

audit = sa.Table(
    "audit",
    tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""Rows are only ever inserted.  ``document``: a ``p2pdeploy.messages.audit.AuditEntry`` in JSON."""

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

refused_serials = sa.Table(
    "refused_serials",
    tables,
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("refused_at", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
"""Certificates of operators that are refused before they expire.  Never deleted."""

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

release_documents = sa.Table(
    "release_documents",
    tables,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""Signed release metadata: the rows of ``p2pdeploy.trust.releases.rows``."""

release_proposals = sa.Table(
    "release_proposals",
    tables,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("proposed_at", sa.Float, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""Releases that lack signatures: ``p2pdeploy.trust.releases.proposals.Proposal``."""

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
)
VERSION = len(STEPS) + 1


def upgrade(connection: sa.Connection) -> None:
    """Bring the database to this program's version, inside the caller's transaction.

    Raises:
        ConfigError: the database was written by a newer program; nothing was changed.
    """
    if not sa.inspect(connection).has_table(_versions.name):
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
