"""Sizes, counts and lifetimes of release metadata."""

from __future__ import annotations

import datetime as dt

# -- lifetimes -------------------------------------------------------------------------------
# A host whose metadata expired starts nothing new; what runs, runs on.

ROOT_LIFETIME = dt.timedelta(days=365)  # its keys lie in safes; one ceremony a year
TARGETS_LIFETIME = dt.timedelta(days=90)  # bounds how long a removed publisher can be hidden
# What is fresh is said by snapshot and timestamp.  This one bounds how long stolen online keys
# can hide a newer release, and a service that nobody touches must not become a chore.
SERVICE_LIFETIME = dt.timedelta(days=365)
SNAPSHOT_LIFETIME = dt.timedelta(days=7)  # a control plane may be down for a long weekend
TIMESTAMP_LIFETIME = dt.timedelta(days=1)  # the longest that a host can be kept from the news

# A timestamp is no younger than its lifetime says, except for a clock that is behind by this.
CLOCK_BEHIND = dt.timedelta(hours=1)

# -- counts ----------------------------------------------------------------------------------

# What can be rolled out or gone back to; 128 entries of 250 bytes are half of what a host loads.
RELEASES_LIVE_MAX = 128
ROOTS_PER_BUNDLE_MAX = 64  # a host that slept through 64 rotations joins anew
VERSION_MAX = 2**53 - 1  # JSON readers in other languages go no further

# -- sizes, checked before anything is parsed ------------------------------------------------

ROOT_BYTES_MAX = 32 * 1024  # 64 keys with their signatures take 25 KiB
TIMESTAMP_BYTES_MAX = 8 * 1024  # under 1 KiB with a handful of keys
SNAPSHOT_BYTES_MAX = 256 * 1024  # 130 bytes per service: 1,500 services with room
TARGETS_BYTES_MAX = 512 * 1024  # 300 bytes per service with one publisher
SERVICE_BYTES_MAX = 96 * 1024  # 128 releases with the longest names take 70 KiB
BUNDLE_BYTES_MAX = 1024 * 1024  # all of these, and a few roots
SEEN_BYTES_MAX = 128 * 1024  # one root, and versions of 64 services

assert TIMESTAMP_LIFETIME < SNAPSHOT_LIFETIME < TARGETS_LIFETIME < ROOT_LIFETIME, (
    "keys that are easier to steal sign for a shorter time"
)
