"""Every fault of a service.toml is told with its file, line and key."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.errors import PayloadError
from p2pdeploy.payload.service_toml import (
    ServiceSpec,
    effective,
    expand,
    lint_tree,
    parse_service_toml,
    service_environment,
)

MINIMAL = """\
[service]
name = "hello"

[run]
command = ["python3", "server.py"]

[health]
http = "http://$HOST:$PORT/healthz"
"""
VARIABLES = {
    "HOST": "127.0.0.1",
    "PORT": "8080",
    "STATE_DIR": "/state",
    "SERVICE": "hello",
    "VERSION": "1.0.0",
}


def parse(text: str) -> ServiceSpec:
    return parse_service_toml(text.encode(), "service.toml")


def fault(text: str) -> str:
    with pytest.raises(PayloadError) as caught:
        parse(text)
    return str(caught.value)


def with_line(line: str, *, table: str) -> str:
    """The minimal file with *line* as the last of a table."""
    if f"[{table}]" not in MINIMAL:
        return f"{MINIMAL}\n[{table}]\n{line}\n"
    head, _, tail = MINIMAL.partition(f"[{table}]\n")
    own, gap, rest = tail.partition("\n\n")
    return f"{head}[{table}]\n{own.rstrip()}\n{line}{gap or chr(10)}{rest}"


def test_name_command_and_a_health_check_are_enough_and_the_rest_has_defaults() -> None:
    assert effective(parse(MINIMAL)) == {
        "service": {"name": "hello"},
        "run": {
            "command": ["python3", "server.py"],
            "env": {},
            "user": "",
            "stop_signal": "SIGTERM",
            "stop_timeout_s": 10.0,
        },
        "health": {
            "http": "http://$HOST:$PORT/healthz",
            "interval_s": 1.0,
            "timeout_s": 2.0,
            "healthy_after": 1,
            "unhealthy_after": 3,
            "start_timeout_s": 30.0,
        },
        "activation": {"strategy": "stop-start", "bake_s": 2.0},
    }


def test_everything_can_be_set() -> None:
    spec = parse(
        """
        [service]
        name = "web-1"
        [run]
        command = ["/usr/bin/env", "-S", "$VERSION$$"]
        stop_signal = "SIGINT"
        stop_timeout_s = 3
        [run.env]
        PORT = "$PORT"
        DATA = "$STATE_DIR/data"
        [health]
        exec = ["./check", "$HOST"]
        interval_s = 0.5
        timeout_s = 1
        healthy_after = 2
        unhealthy_after = 4
        start_timeout_s = 60
        [activation]
        strategy = "stop-start"
        bake_s = 0
        """
    )
    assert spec.run.env == {"PORT": "$PORT", "DATA": "$STATE_DIR/data"}
    assert (spec.run.stop_signal, spec.run.stop_timeout_s) == ("SIGINT", 3)
    assert (spec.health.exec, spec.health.http, spec.health.tcp) == (("./check", "$HOST"), "", "")
    assert (spec.health.healthy_after, spec.activation.bake_s) == (2, 0)


FAULTS = [
    ('name = "Hello"', "service", r"service\.toml:\d+: service\.name: .*is not a service name"),
    ('command = "./run --fast"', "run", r":\d+: run\.command: must be a list .*there is no shell"),
    ("command = []", "run", r"run\.command: must name a program"),
    ("command = [1]", "run", r"run\.command: word 1: must be a string, not a whole number"),
    ('command = ["../run"]', "run", r"run\.command: word 1: \.\./run climbs out of the tree"),
    ('command = ["a/../../run"]', "run", r"climbs out of the tree"),
    ('command = ["$STATE_DIR/run"]', "run", r"the program must be written out"),
    ('command = ["run", "$HOME"]', "run", r"word 2: \$HOME is not a variable; there are \$HOST "),
    ('command = ["run", "5$"]', "run", r"word 2: a single \$ stands for nothing"),
    ('command = ["run", "${PORT}"]', "run", r"word 2: a single \$ stands for nothing"),
    ('command = ["run", "a\\u0000b"]', "run", r"word 2: has a NUL"),
    ('stop_signal = "TERM"', "run", r":6: run\.stop_signal: 'TERM' is not one of SIGTERM"),
    ('user = "root"', "run", r":6: run\.user: a service never runs as root"),
    ('user = "../x"', "run", r":6: run\.user: '../x' is not the name of an account"),
    ("user = 0", "run", r":6: run\.user: must be a string, not a whole number"),
    ("stop_signal = 15", "run", r":6: run\.stop_signal: must be a string, not a whole number"),
    ("stop_timeout_s = 0", "run", r":6: run\.stop_timeout_s: is 0, but must be 0\.1 to 600"),
    ("stop_timeout_s = nan", "run", r":6: run\.stop_timeout_s: is nan"),
    ('stop_timeout_s = "10s"', "run", r":6: run\.stop_timeout_s: must be a number of seconds"),
    ("stop_timeout_s = true", "run", r"must be a number of seconds, not a boolean"),
    ('env = ["A=1"]', "run", r":6: run\.env: must be a table of strings, not a list"),
    ("env = {A = 1}", "run", r":6: run\.env: A: must be a string, not a whole number"),
    ('env = {"A-B" = "1"}', "run", r":6: run\.env: 'A-B' is not a name for an env"),
    ('env = {A = "$PROT"}', "run", r":6: run\.env: A: \$PROT is not a variable"),
    ('comand = ["x"]', "run", r":6: run\.comand: is unknown \(did you mean command\?\)"),
    ("zzz = 1", "run", r":6: run\.zzz: is unknown \(there are command, env, "),
    ('tcp = "$HOST:$PORT"', "health", r":9: health\.tcp: stands beside http"),
    ("interval_s = 0", "health", r":9: health\.interval_s: is 0, but must be 0\.1 to 300"),
    ("healthy_after = 0", "health", r":9: health\.healthy_after: is 0, but must be 1 to 100"),
    ("healthy_after = 1.5", "health", r":9: health\.healthy_after: must be a whole number"),
    ("start_timeout_s = 99999", "health", r":9: health\.start_timeout_s: is 99999"),
    ("timeout_s = 1979-05-27", "health", r"must be a number of seconds, not a date or time"),
    ('strategy = "hot-swap"', "activation", r":11: activation\.strategy: .* not supported yet"),
    ('strategy = "canary"', "activation", r":11: activation\.strategy: 'canary' is not one of"),
    ("bake_s = -1", "activation", r":11: activation\.bake_s: is -1"),
    ("x = 1", "healht", r":10: healht: is unknown \(did you mean health\?\)"),
]


@pytest.mark.parametrize(("line", "table", "expected"), FAULTS)
def test_a_fault_is_told_with_line_and_key(line: str, table: str, expected: str) -> None:
    key = line.partition(" =")[0]
    text = MINIMAL
    if f"\n{key} = " in MINIMAL:
        text = re.sub(rf"(?m)^{key} = .*$", lambda _: line, MINIMAL)
    else:
        text = with_line(line, table=table)
    assert re.search(expected, fault(text)), fault(text)


HEALTH_FAULTS = [
    *('http = "https://$HOST:$PORT/"', 'http = "http://example.org/"', 'http = "$HOST:$PORT"'),
    *('http = "http://$HOST:99999/"', 'http = "http://$HOST/"', 'http = "http://$HOST@x:1/"'),
    *('tcp = "$PORT"', 'tcp = "10.0.0.1:80"', 'tcp = "$HOST:$PORT/"', "tcp = 80"),
    *('exec = "true"', "exec = []"),
]


@pytest.mark.parametrize("line", HEALTH_FAULTS)
def test_a_health_check_of_anything_but_the_service_itself_is_refused(line: str) -> None:
    text = MINIMAL.replace('http = "http://$HOST:$PORT/healthz"', line)
    assert f"service.toml:8: health.{line.split()[0]}: " in fault(text)


@pytest.mark.parametrize("line", ['http = "http://$HOST:8080"', 'tcp = "$HOST:$PORT"'])
def test_other_spellings_of_a_health_check_pass(line: str) -> None:
    parse(MINIMAL.replace('http = "http://$HOST:$PORT/healthz"', line))


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ('name = "hello"', 'service.toml:1: service.name: is missing (for example name = "hello")'),
        ('command = ["python3", "server.py"]', "service.toml:4: run.command: is missing"),
        ('http = "http://$HOST:$PORT/healthz"', "service.toml:7: health: has no health check"),
    ],
)
def test_what_has_no_default_must_be_there(removed: str, expected: str) -> None:
    assert expected in fault(MINIMAL.replace(removed, ""))


def test_an_empty_file_lacks_all_three(tmp_path: Path) -> None:
    (tmp_path / "service.toml").write_text("")
    assert [f.key for f in lint_tree(tmp_path)] == ["service.name", "run.command", "health"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[service]\nname = hello\n",
            r"service\.toml:2: service\.name: is not TOML: Invalid value",
        ),
        ("[service\nname = 1", r"service\.toml:1: is not TOML"),
        ("[run]\na = 1\n[run]\n", r"service\.toml:3: is not TOML: Cannot declare"),
        ("[run]\na = [1,", r"service\.toml:2: run\.a: is not TOML|service\.toml:2: is not TOML"),
        ("service = 3", r"service\.toml:1: service: must be a table \(write \[service\]\)"),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(text: str, expected: str) -> None:
    assert re.search(expected, fault(text)), fault(text)


def test_bytes_that_are_not_utf8_are_told_with_their_line() -> None:
    with pytest.raises(PayloadError, match=r"service\.toml:2: is not UTF-8"):
        parse_service_toml(b"[service]\nname = '\xff'", "service.toml")


def test_a_file_too_large_is_refused_before_it_is_parsed() -> None:
    assert "is larger than" in fault("#" * 70_000)


def test_lint_lists_all_faults_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "service.toml").write_text(
        '[service]\nnam = "x"\n[run]\ncommand = "x"\nstop_signal = "X"\n'
        "[health]\ntimeout_s = -1\n[extra]\n"
    )
    found = [(f.line, f.key, f.severity) for f in lint_tree(tmp_path)]
    assert found == [
        (1, "service.name", "error"),
        (2, "service.nam", "error"),
        (4, "run.command", "error"),
        (5, "run.stop_signal", "error"),
        (6, "health", "error"),
        (7, "health.timeout_s", "error"),
        (8, "extra", "error"),
    ]


@pytest.mark.parametrize(
    ("program", "mode", "message"),
    [
        ("./bin/none", 0o755, "./bin/none is not a file of the tree"),
        ("bin", 0o755, ""),
        ("bin/", 0o755, "bin/ is not a file of the tree"),
        ("./bin/run", 0o644, "./bin/run is not executable"),
        ("bin/run", 0o755, ""),
        ("/usr/bin/python3", 0o755, ""),
        ("python3", 0o755, ""),
    ],
)
def test_a_program_of_the_tree_must_be_there_and_executable(
    tmp_path: Path, program: str, mode: int, message: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/run").touch()
    (tmp_path / "bin/run").chmod(mode)
    (tmp_path / "service.toml").write_text(MINIMAL.replace("python3", program))
    expected = [(5, "run.command", message)] if message else []
    assert [(f.line, f.key, f.message) for f in lint_tree(tmp_path)] == expected


def test_a_bare_name_that_is_also_in_the_tree_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "run").touch(mode=0o755)
    (tmp_path / "service.toml").write_text(MINIMAL.replace("python3", "run"))
    (finding,) = lint_tree(tmp_path)
    assert (finding.severity, finding.message[-12:]) == ("warning", "; write ./run"[-12:])


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", r"has no service\.toml"),
        ("link", "is a symbolic link, which is not followed"),
        ("folder", "can't be read: Is a directory"),
    ],
)
def test_a_service_toml_that_is_no_file_is_refused(tmp_path: Path, kind: str, says: str) -> None:
    file = tmp_path / "service.toml"
    if kind == "link":
        file.symlink_to("/etc/hostname")
    elif kind == "folder":
        file.mkdir()
    with pytest.raises(PayloadError, match=says):
        lint_tree(tmp_path)


def test_a_service_toml_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "service.toml")
    with pytest.raises(PayloadError, match="is not a regular file"):
        lint_tree(tmp_path)


def test_variables_expand_once() -> None:
    tricky = {**VARIABLES, "VERSION": "$PORT"}
    assert expand("$HOST:$PORT $$PORT $VERSION$$", tricky) == "127.0.0.1:8080 $PORT $PORT$"


@pytest.mark.parametrize("text", ["$NOPE", "a$", "${PORT}", "$1"])
def test_an_unknown_variable_is_refused(text: str) -> None:
    with pytest.raises(PayloadError, match="is not defined"):
        expand(text, VARIABLES)


def test_the_environment_holds_path_lang_home_and_env_only(monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    spec = parse(with_line('env = {URL = "http://$HOST:$PORT"}', table="run"))
    assert service_environment(spec, VARIABLES, path="/bin") == {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "HOME": "/state",
        "URL": "http://127.0.0.1:8080",
    }


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from([*MINIMAL.splitlines(), "x = 1", "[run.env]", "a.b = []", "[[run]]", '"']),
        max_size=12,
    )
)
def test_any_mix_of_lines_is_parsed_or_refused_with_a_line(lines: list[str]) -> None:
    try:
        parse("\n".join(lines))
    except PayloadError as error:
        place = re.match(r"service\.toml:(\d+)", str(error))
        assert place
        assert 1 <= int(place[1]) <= max(len(lines), 1)
