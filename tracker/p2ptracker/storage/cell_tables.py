"""Tables of cells: their rollouts, the orders that stand in them, and what their hosts said."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "cell_records",
    "highest_numbers",
    "key_rotations",
    "observations",
    "orders",
    "rate_limits",
    "rollouts",
    "spreads",
    "tables",
]

tables = sa.MetaData()

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
adds at most what a cell's state has room for.  ``service``: empty for leases and rate limits."""

key_rotations = sa.Table(
    "key_rotations",
    tables,
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""What is under way of each role: ``p2ptracker.keys.rotation.Rotation``."""

spreads = sa.Table(
    "spreads",
    tables,
    sa.Column("rollout", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""How a rollout's release spread: ``p2ptracker.spreads.spread.SpreadRecord``."""

rate_limits = sa.Table(
    "rate_limits",
    tables,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("download_bytes_per_s", sa.BigInteger),
    sa.Column("upload_bytes_per_s", sa.BigInteger),
    sa.Column("set_at", sa.Float, nullable=False),
)
"""What people set (``p2pdeploy.messages.limits``); NULL is unlimited."""

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
