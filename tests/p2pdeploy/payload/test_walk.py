"""What a release can't hold is refused with one line that names it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from p2pdeploy.errors import PayloadError
from p2pdeploy.limits import PATH_BYTES_MAX
from p2pdeploy.payload import walk as walking
from p2pdeploy.payload.walk import walk
from tests.privileges import needs_root


def refused(root: Path) -> str:
    with pytest.raises(PayloadError) as caught:
        walk(root)
    line = str(caught.value)
    assert line.isprintable(), "one line without control characters"
    return line


@pytest.mark.parametrize("target", ["/etc/passwd", "/"])
def test_an_absolute_link_is_refused(make_tree, target: str) -> None:
    line = refused(make_tree({"lib/link": target}))
    assert line.endswith(f"lib/link: is an absolute link to '{target}'")


@pytest.mark.parametrize("target", ["../..", "../../x", "./../../x", ".././../x"])
def test_a_climbing_link_is_refused(make_tree, target: str) -> None:
    assert "lib/link: links out of the tree" in refused(make_tree({"lib/link": target}))


def test_a_link_that_climbs_after_a_name_is_refused(make_tree) -> None:
    tree = make_tree({"a/b/l": "../../r", "r": None, "out": "a/b/l/../.."})
    assert "out: links to 'a/b/l/../..', where '..' follows a name" in refused(tree)


def test_a_link_with_an_empty_name_is_refused(make_tree) -> None:
    assert "m: links to 'm//a', which has an empty name" in refused(make_tree({"m": "m//a"}))


def test_links_inside_the_tree_may_dangle_and_loop(make_tree) -> None:
    links = {"a/up": "../", "a/b/c": "../../a/./x/y", "dangling": "nothing", "loop": "loop"}
    found = {item.path: item.target for item in walk(make_tree(links)) if item.kind == "link"}
    assert found == links


def test_a_named_pipe_is_refused(make_tree) -> None:
    root = make_tree()
    os.mkfifo(root / "pipe")
    assert refused(root).endswith("pipe: is a named pipe")


def test_a_socket_is_refused(make_tree, monkeypatch) -> None:
    root = make_tree()
    monkeypatch.chdir(root)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        assert refused(root).endswith("sock: is a socket")


@needs_root
def test_a_device_is_refused(make_tree) -> None:
    root = make_tree()
    try:
        os.mknod(root / "null", 0o20644, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container makes no device nodes")
    assert refused(root).endswith("null: is a device")


@pytest.mark.parametrize(("path", "mode"), [("file", 0o4755), ("file", 0o2755), ("dir", 0o1777)])
def test_set_id_and_sticky_bits_are_refused(make_tree, path: str, mode: int) -> None:
    root = make_tree({"file": b"", "dir": None})
    (root / path).chmod(mode)
    assert f"{path}: has a set-id or sticky bit (mode {mode:o})" in refused(root)


@pytest.mark.parametrize("path", ["file", "dir"])
def test_what_its_owner_may_not_read_is_refused_even_for_root(make_tree, path: str) -> None:
    root = make_tree({"file": b"x", "dir": None})
    (root / path).chmod(0o200)
    assert f"{path}: is not readable" in refused(root)
    (root / path).chmod(0o700)


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b"\x1b[2J", b"a\x7f", "\x85".encode()])
def test_names_that_no_line_can_show_are_refused(make_tree, name: bytes) -> None:
    root = make_tree()
    with open(os.path.join(os.fsencode(root), name), "wb"):
        pass
    assert "is not UTF-8" in refused(root) or "has a control character" in refused(root)


def test_a_path_too_long_is_refused(make_tree, monkeypatch) -> None:
    root = make_tree()
    deep = "/".join(["d" * 200] * (PATH_BYTES_MAX // 200 + 1))
    (root / deep).mkdir(parents=True)
    assert f"at most {PATH_BYTES_MAX} allowed" in refused(root)


def test_a_tree_too_deep_is_refused(make_tree) -> None:
    root = make_tree()
    (root / "/".join("d" * 50)).mkdir(parents=True)
    assert "is more than 40 folders deep" in refused(root)


def test_the_reserved_name_is_refused_at_the_top_only(make_tree) -> None:
    assert "uses the reserved name" in refused(make_tree({".p2pdeploy/x": b""}))
    walk(make_tree({"below/.p2pdeploy/x": b""}, name="other"))


def test_too_many_files_are_refused(make_tree, monkeypatch) -> None:
    monkeypatch.setattr(walking, "FILES_PER_RELEASE_MAX", 3)
    walk(make_tree({"a": b"", "b": b""}))
    assert "more than 3 files" in refused(make_tree({"a/b": b"", "c": b""}, name="other"))


def test_an_empty_tree_a_file_and_nothing_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith("the tree is empty")
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path / "file").endswith("is not a directory")
    assert refused(tmp_path / "none").endswith("is not a directory")


def test_hard_links_are_just_files(make_tree) -> None:
    root = make_tree({"one": b"x"})
    os.link(root / "one", root / "two")
    assert [f.kind for f in walk(root) if f.path in ("one", "two")] == ["file", "file"]
