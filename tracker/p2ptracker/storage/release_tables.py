"""Tables of releases: what there is, where its bytes lie, and what its publishers signed.

Digests of releases are hexadecimal text, of chunks (many) raw bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "blobs",
    "chunks",
    "manifests",
    "release_documents",
    "release_proposals",
    "releases",
    "tables",
]

tables = sa.MetaData()

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
