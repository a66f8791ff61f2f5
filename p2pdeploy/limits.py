"""Protocol-wide maxima that every program agrees on.

Each has a unit in its name, a reason, and is checked before memory is reserved.
Limits that concern one component only stand in that component.
"""

from __future__ import annotations

# A cell is a failure and gossip domain; Consul recommends at most 5,000 agents in one pool and a
# rumour reaches 1,000 members in about 2 s.  Larger fleets get more cells, not larger ones.
CELL_HOSTS_MAX = 1_000

# Services that one host can run; bounds every per-host table and the attestations of a cell.
SERVICES_PER_HOST_MAX = 64

# Fits one Ethernet frame with room for IP, UDP and a tunnel header.
DATAGRAM_BYTES_MAX = 1_400

# The largest single object of a cell's state is the roster of 1,000 hosts (about 45 KiB).
ENVELOPE_BYTES_MAX = 128 * 1024

# One stream exchange between two replicas: the whole state of a cell of 1,000 hosts is below 1 MiB
# per service; a peer that sends more is cut off.
FRAME_BYTES_MAX = 8 * 1024 * 1024

# 100,000 files of 10 GB with long paths; also bounds what a host parses before it trusts a release.
MANIFEST_BYTES_MAX = 64 * 1024 * 1024

# 10 GB in 16 KiB chunks (the FastCDC minimum) is 655,360 chunks of 36 bytes.
CHUNK_INDEX_BYTES_MAX = 32 * 1024 * 1024

FILES_PER_RELEASE_MAX = 200_000
PATH_BYTES_MAX = 1_024  # one path inside a payload; PATH_MAX of Linux is 4,096 with our prefix

# Numbers of orders and revocations only rise, and one that nothing could follow would be the last:
# higher ones than NUMBER_MAX are refused, and who counts on counts on from the first half of that.
NUMBER_MAX = 2**62  # fits every database; a thousand a second for a hundred million years
NUMBER_FOLLOWED_MAX = NUMBER_MAX // 2
ENROLMENT_MAX = 2**31  # one is the upper half of an epoch (messages/attestation.py)
ENROLMENT_FOLLOWED_MAX = ENROLMENT_MAX // 2

# Two hosts whose clocks differ by more than this do not agree on a lease.
CLOCK_ERROR_S = 1.0
LEASE_S = 30.0  # how long a GO allows starts; the halt bound under any partition
LEASE_RENEW_S = 10.0  # three chances to renew before a lease lapses
assert LEASE_RENEW_S * 2 < LEASE_S, "one lost renewal must not stall a rollout"

# What is brought to hosts ahead of a rollout takes room that a rollout may need.
PREFETCHES_MAX = 4  # builds of one service in one cell; all are kept until their time is over
PREFETCH_KEEP_S = 7 * 24 * 3600.0  # unless it is said: a week of releases
PREFETCH_KEEP_MAX_S = 30 * 24 * 3600.0  # what nobody rolled out in a month is forgotten

# How often one plan may be tried again.  Each time its brakes count anew, so without an end the
# thief of a deployer key could let any number of hosts fail.
ATTEMPTS_MAX = 5
