"""Which paths and links a payload may hold, and in which order they stand.

The same rules judge a publisher's own tree (:mod:`~p2pdeploy.payload.walk`) and a manifest from
elsewhere (:mod:`~p2pdeploy.payload.check`).  Pure.
"""

from __future__ import annotations

import unicodedata

from p2pdeploy.limits import PATH_BYTES_MAX

__all__ = ["PRIVATE_DIR", "link_fault", "pack_path", "path_fault", "path_key"]

PRIVATE_DIR = ".p2pdeploy"
"""The top-level name that a payload may not use: packs stand there in the torrent."""

NAME_BYTES_MAX = 255  # NAME_MAX of every Linux filesystem
DEPTH_MAX = 40  # libtorrent's decoder gives up at 100 levels of a torrent, two for each folder


def path_key(path: str) -> tuple[str, ...]:
    """Sort key: component by component, as BEP 52 orders a file tree.

    Code points order as their UTF-8 bytes do, so text compares like the raw bytes.
    A folder's content follows it at once: ``a``, ``a/x``, ``a-b``.
    """
    return tuple(path.split("/"))


def pack_path(number: int) -> str:
    """The torrent path of pack *number*, counted from 0."""
    return f"{PRIVATE_DIR}/pack-{number:04d}"


def path_fault(path: str) -> str:
    """Why *path* may not stand in a payload; empty when it may."""
    text_fault = _text_fault(path)
    if text_fault:
        return text_fault
    components = path.split("/")
    if any(name in ("", ".", "..") for name in components):
        return "is not a plain relative path"
    if len(components) > DEPTH_MAX:
        return f"is more than {DEPTH_MAX} folders deep"
    if any(len(name.encode()) > NAME_BYTES_MAX for name in components):
        return f"has a name above {NAME_BYTES_MAX} bytes"
    if components[0] == PRIVATE_DIR:
        return f"uses the reserved name {PRIVATE_DIR}"
    return ""


def link_fault(path: str, target: str) -> str:
    """Why the link at *path* may not lead to *target*; empty when it may.

    ``..`` is allowed only in front: then it climbs real folders, and no chain of links can lead
    out of the tree.  (With ``a/b/l -> ../../r``, the target ``a/b/l/../..`` looks as if it stayed
    inside and does not.)
    """
    text_fault = _text_fault(target)
    if text_fault:
        return f"links to a target that {text_fault}"
    if target.startswith("/"):
        return f"is an absolute link to {target!r}"
    if "//" in target:  # Python's realpath takes "m -> m//a" for "/a"
        return f"links to {target!r}, which has an empty name"
    depth = path.count("/")
    named = False
    for name in target.split("/"):
        if name == "..":
            if named:
                return f"links to {target!r}, where '..' follows a name"
            depth -= 1
        elif name not in ("", "."):
            named = True
    if depth < 0:
        return f"links out of the tree, to {target!r}"
    return ""


def _text_fault(text: str) -> str:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not text:
        return "is empty"
    if size_bytes > PATH_BYTES_MAX:
        return f"is {size_bytes} bytes long, at most {PATH_BYTES_MAX} allowed"
    plain = text.isascii() and text.isprintable()  # most are: the look at each letter is dear
    if not plain and any(unicodedata.category(char) == "Cc" for char in text):
        return "has a control character"
    return ""
