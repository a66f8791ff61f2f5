"""What the wheel holds and does, in an environment that has never seen the checkout.

An editable install hides files that were never packaged; this finds them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENTRY_POINTS = sorted(PROJECT["project"]["scripts"])
PACKAGE_FOLDERS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def run(*argv: str | Path, cwd: Path) -> str:
    """Run a program outside the checkout and without this test's environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([*map(str, argv)], cwd=cwd, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_bin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new venv that holds the wheel and sees the locked dependencies.

    They come through a .pth file: the nested .pth of the editable install is not followed, so the
    checkout itself stays invisible, and nothing is fetched from anywhere.
    """
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv)
    Path(purelib.strip(), "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python, "-qq", "install")
    run(*pip, "--no-index", "--no-deps", "--force-reinstall", wheel, cwd=venv)
    return python.parent


def test_installed_packages_come_from_the_wheel(clean_bin: Path):
    """Or the other tests here would test the checkout."""
    code = "import p2pdeploy, p2pdaemon, p2ptracker, p2pctl, p2psim as s; print(s.__file__)"

    assert run(clean_bin / "python", "-c", code, cwd=clean_bin).startswith(str(clean_bin.parent))


@pytest.mark.parametrize("program", ENTRY_POINTS)
def test_entry_point_runs(clean_bin: Path, program: str):
    assert program in run(clean_bin / program, "--help", cwd=clean_bin)


def test_wheel_holds_every_tracked_file_of_the_packages(wheel: Path):
    """Modules, py.typed and data; nothing of tests, benchmarks or docs."""
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGE_FOLDERS], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split()
    wanted = {
        str(Path(folder).name / Path(name).relative_to(folder))
        for folder in PACKAGE_FOLDERS
        for name in listed
        if name.startswith(folder + "/") and (ROOT / name).exists()
    }
    held = set(zipfile.ZipFile(wheel).namelist())

    assert wanted - held == set()
    assert {f"{Path(folder).name}/py.typed" for folder in PACKAGE_FOLDERS} - held == set()
    tops = {name.split("/")[0] for name in held if ".dist-info" not in name}
    assert tops == {Path(folder).name for folder in PACKAGE_FOLDERS}


def test_wheel_holds_the_example_that_the_demo_runs(clean_bin: Path):
    """``p2pctl demo`` works without a checkout."""
    code = "from p2pctl.demo.payloads import find_example as find; print(find(None))"
    found = Path(run(clean_bin / "python", "-c", code, cwd=clean_bin).strip())

    assert found.is_relative_to(clean_bin.parent)
    assert {path.name for path in found.iterdir()} >= {"service.toml", "server.py"}
