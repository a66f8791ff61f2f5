from __future__ import annotations

from pathlib import Path


def test_a_good_payload_exits_0_and_prints_every_default(p2pctl, payload: Path) -> None:
    done = p2pctl("lint", payload)
    assert done.code == 0
    assert "health.interval_s" in done.out
    assert "activation.strategy" in done.out
    assert "no faults" in done.out


def test_faults_name_file_line_and_key_and_exit_1(p2pctl, payload: Path) -> None:
    text = (payload / "service.toml").read_text()
    (payload / "service.toml").write_text(text + "interval = 3\ntimeout_s = 'x'\n")
    done = p2pctl("lint", payload, "-o", "json")
    assert done.code == 1
    report = done.document()
    assert report["ok"] is False
    assert [(f["line"], f["key"]) for f in report["findings"]] == [
        (7, "health.interval"),
        (8, "health.timeout_s"),
    ]
    shown = p2pctl("lint", payload).out
    assert "service.toml:7: health.interval: " in shown
    assert "service.toml:8: health.timeout_s: " in shown


def test_what_publish_refuses_about_the_files_is_found_too(p2pctl, payload: Path) -> None:
    (payload / "out").symlink_to("/etc/passwd")
    done = p2pctl("lint", payload, "-o", "json")
    assert done.code == 1
    assert "out" in done.document()["findings"][0]["file"]


def test_a_path_that_is_no_directory_is_one_error(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("lint", tmp_path / "none", "-o", "json")
    assert done.code == 2
    assert done.error_code == "not-a-directory"


def test_a_payload_without_service_toml_is_a_finding(p2pctl, payload: Path) -> None:
    (payload / "service.toml").unlink()
    done = p2pctl("lint", payload, "-o", "json")
    assert done.code == 1
    report = done.document()
    assert (report["ok"], report["effective"]) == (False, None)
    assert ["service.toml" in finding["message"] for finding in report["findings"]] == [True]


def test_a_linked_service_toml_is_a_finding_that_says_so(p2pctl, payload: Path) -> None:
    (payload / "service.toml").rename(payload / "real.toml")
    (payload / "service.toml").symlink_to("real.toml")
    done = p2pctl("lint", payload, "-o", "json")
    assert done.code == 1
    found = done.document()["findings"]
    assert [finding["file"] for finding in found] == [str(payload / "service.toml")]
    assert "symbolic link" in found[0]["message"]
