"""Every libtorrent setting that matters to a private fleet, in one place, each with its reason.

libtorrent's defaults are made for strangers on the internet: they ration uploads, look for peers
on their own and forgive slowly.  Here all peers belong to one owner and are handed over by name.
"""

from __future__ import annotations

import libtorrent as lt

__all__ = [
    "ALERT_CATEGORIES",
    "DISK_IO",
    "PIECE_BYTES_MIN",
    "rate_settings",
    "send_buffer_settings",
    "session_settings",
]

# Plain pread/pwrite: 3.6 CPU s per GB moved against 5.1 for the default (mmap), and what is
# written does not count as this process's resident memory.
DISK_IO = "posix_disk_io_constructor"

# libtorrent 2.1.1 writes out of bounds when a peer declines to prove the blocks of a wrong piece
# and a piece is one block (16 KiB): a host with a bad disk would crash its neighbours.  Larger ones
# are safe (https://github.com/arvidn/libtorrent/pull/8630, the rest in pull/8863).
PIECE_BYTES_MIN = 32 * 1024

# Errors, torrent states, finished pieces and banned peers.  Nothing per block: at 1 GB/s that
# would be 60,000 alerts a second.
ALERT_CATEGORIES = (
    lt.alert_category.error
    | lt.alert_category.status
    | lt.alert_category.storage
    | lt.alert_category.piece_progress
    | lt.alert_category.peer  # bans
)

_FLEET: dict[str, int | bool | str] = {
    # Peers come from the handout only.
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_ip_notifier": False,  # saves a netlink socket; the address is fixed anyway
    # TCP only: uTP yields to other traffic by delay, which on a LAN means it crawls.
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    # Certificates bring TLS; the obfuscation of BEP 3 clients protects nothing.
    "in_enc_policy": int(lt.enc_policy.pe_disabled),
    "out_enc_policy": int(lt.enc_policy.pe_disabled),
    # Every neighbour is worth serving: no rationing, no rotating slots every 15 s.
    "unchoke_slots_limit": -1,
    "choking_algorithm": int(lt.choking_algorithm_t.fixed_slots_choker),
    # A host that wants nothing right now is still a way for the bytes: keep its links.
    "close_redundant_connections": False,
    # Containers and tests share addresses; true duplicates are found by peer id.
    "allow_multiple_connections_per_ip": True,
    # 24 neighbours for each of some ten releases in motion; idle seeds cost a socket each.
    "connections_limit": 256,
    "max_peerlist_size": 256,
    "listen_queue_size": 128,  # a whole cell's neighbours dial in the same second
    # A first connect that fails because the neighbour starts a second later costs 60 s by default.
    "min_reconnect_time": 2,
    "max_failcount": 31,  # the counter's top: a neighbour is never given up, the handout decides
    "peer_connect_timeout": 3,  # a LAN answers in milliseconds
    "handshake_timeout": 5,
    "connection_speed": 100,
    "smooth_connects": False,
    # A dead peer's blocks go to another one soon; a slow one still has this long for a block.
    "peer_timeout": 30,
    "request_timeout": 20,
    "piece_timeout": 10,
    # Measured: long queues and large watermarks lengthen the end game (up to 1.23 of the limit).
    # Both: a peer's announced "allowed in" replaces our own "out".
    "max_out_request_queue": 16,  # blocks of 16 KiB
    "max_allowed_in_request_queue": 16,
    "send_buffer_watermark": 32 * 1024,
    "send_buffer_low_watermark": 16 * 1024,
    # Measured: left to itself TCP fills the queue before the uplink from 8 links at once, and 3 to
    # 6 % are sent again; so each has some 20 KB on its way.  See send_buffer_settings.
    "send_socket_buffer_size": 16 * 1024,
    # Memory: bytes that wait for the disk stay below this; peers are slowed down instead.
    "max_queued_disk_bytes": 4 * 1024 * 1024,
    "file_pool_size": 32,
    "aio_threads": 2,
    "hashing_threads": 1,  # SHA-256 with SHA-NI is faster than the network
    # A full disk is tried again soon after there is room (default: ten minutes).
    "optimistic_disk_retry": 5,
    # An exact port or an error: a silent move to the next port would make the handout wrong.
    "max_retry_port_bind": 0,
    "listen_system_port_fallback": False,
    "alert_queue_size": 8_000,  # the pieces of the largest usual release; losses are noticed
    "user_agent": "p2pdeploy",
    "peer_fingerprint": "-2P0100-",
}


def session_settings(address: str, port: int) -> dict[str, int | bool | str]:
    """The settings of a host's session.

    Args:
        address: IPv4 address every socket binds, listening and outgoing; an unbound outgoing
            socket on loopback shows 127.0.0.1 and its peers drop it as a duplicate.
        port: TCP port; 0 takes a free one.  It speaks TLS only (``s``); there is no plain one.
    """
    return {
        **_FLEET,
        "alert_mask": int(ALERT_CATEGORIES),
        "listen_interfaces": f"{address}:{port}s",
        "outgoing_interfaces": address,
    }


_RATE_MAX = 2**31 - 1  # libtorrent counts in 32 bits; a host that moves 17 Gbit/s has no limit


def rate_settings(
    download_bytes_per_s: int | None, upload_bytes_per_s: int | None
) -> dict[str, int | bool | str]:
    """The settings that change while a session runs; 0 is libtorrent's word for no limit."""
    return {
        "download_rate_limit": _or_none(download_bytes_per_s),
        "upload_rate_limit": _or_none(upload_bytes_per_s),
    }


def send_buffer_settings(*, far: bool) -> dict[str, int | bool | str]:
    """What may be on its way over each connection made from now on.

    Within a cell round trips are far below a millisecond, and 20 KB each fill any link.  Between
    cells they are tens of milliseconds: 20 KB would be a megabyte a second, so there it is TCP's.
    """
    return {"send_socket_buffer_size": 0 if far else int(_FLEET["send_socket_buffer_size"])}


def _or_none(rate_bytes_per_s: int | None) -> int:
    if rate_bytes_per_s is None or rate_bytes_per_s > _RATE_MAX:
        return 0
    return rate_bytes_per_s
