"""The wheel has what an installed program needs, and the lists of requirements agree."""

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vae_gan_jax

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "vae_gan_jax"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = {
    name: list(map(Requirement, lines))
    for name, lines in PYPROJECT["project"]["optional-dependencies"].items()
}
DEMO = "--flagfile=experiments/demo.flags"
SMALL = ["--width=16", "--height=16", "--filters=2", "--z_dim=3", "--noise_schedule=0.1"]


def requirements(file: str) -> list[Requirement]:
    """The lines of a file of requirements, without comments."""
    lines = [line.partition("#")[0].strip() for line in (PROJECT / file).read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def build_wheel(project: Path, folder: Path) -> Path:
    """Builds the wheel of a project's folder."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The project as a wheel."""
    return build_wheel(PROJECT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs the wheel's program in an empty folder: (exit code, stdout, stderr)."""
    site, work = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    zipfile.ZipFile(wheel).extractall(site)

    def run(*arguments):
        command = [sys.executable, "-c", "from vae_gan_jax.main import start; start()", *arguments]
        environment = os.environ | {"PYTHONPATH": str(site)}
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_wheel_holds_the_program_and_its_experiments_alone(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"vae_gan_jax-{vae_gan_jax.__version__}.dist-info/"
    program = {
        f"vae_gan_jax/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    folder = PROJECT / "experiments"
    experiments = {
        f"vae_gan_jax/{path.relative_to(PROJECT).as_posix()}"
        for path in (*folder.glob("*.flags"), *folder.glob("presets/*.yaml"))
    }
    assert {name for name in names if not name.startswith(info)} == program | experiments
    assert f"{info}licenses/LICENSE" in names


def test_the_wheel_asks_for_the_requirements_of_run_sh_and_no_others(wheel):
    with zipfile.ZipFile(wheel) as file:
        info = f"vae_gan_jax-{vae_gan_jax.__version__}.dist-info"
        message = email.message_from_bytes(file.read(f"{info}/METADATA"))
        scripts = file.read(f"{info}/entry_points.txt").decode()
    asked = {str(r) for r in map(Requirement, message.get_all("Requires-Dist")) if not r.marker}
    own = requirements("requirements.txt")
    assert {canonicalize_name(Requirement(line).name) for line in asked} == {
        canonicalize_name(requirement.name) for requirement in own
    }
    assert message["Requires-Python"] == ">=3.11"
    assert "vae-gan-jax = vae_gan_jax.main:start" in scripts


def test_an_installed_program_runs_in_any_folder(installed):
    code, stdout, _ = installed("--version")
    assert (code, stdout) == (0, f"vae_gan_jax {vae_gan_jax.__version__}\n")
    code, _, stderr = installed(DEMO, "--width=3")
    assert code == 2
    assert "--width=3" in stderr
    code, _, stderr = installed("--flagfile=experiments/nowhere.flags")
    assert code == 2
    assert "experiments/nowhere.flags cannot be read" in stderr


@pytest.mark.slow
def test_an_installed_program_makes_the_demo(installed):
    code, _, stderr = installed(DEMO, *SMALL)
    assert code == 0, stderr
    assert "runs/demo/report.html" in stderr


def test_the_image_is_built_from_all_that_the_wheel_needs(wheel, tmp_path):
    text = (PROJECT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (PROJECT / source).is_dir():
                shutil.copytree(PROJECT / source, tmp_path / Path(target).name)
            else:
                shutil.copy(PROJECT / source, tmp_path)
    copied = build_wheel(tmp_path, tmp_path / "dist")
    assert set(zipfile.ZipFile(copied).namelist()) == set(zipfile.ZipFile(wheel).namelist())
    assert 'ENTRYPOINT ["vae-gan-jax"]' in text


@pytest.mark.slow
def test_the_types_of_the_python_api_and_the_networks_are_clean():
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def imported_packages() -> set[str]:
    """The distributions that the package imports; of packages that are not installed, the names."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
    distributions = metadata.packages_distributions()
    names -= sys.stdlib_module_names | {"vae_gan_jax"}
    return {canonicalize_name(distributions.get(name, [name])[0]) for name in names}


def test_requirements_are_what_the_program_imports():
    own = {canonicalize_name(requirement.name) for requirement in requirements("requirements.txt")}
    names = ("cloud", "export", "live", "ndi", "syphon", "spout", "camera")
    extras = {canonicalize_name(r.name) for name in names for r in EXTRAS[name]}
    extras |= {"opengl", "syphon"}  # modules of PyOpenGL and syphon-python, where they are absent
    indirect = {"crc32c"}  # tensorboardX imports it where it is installed
    assert own - indirect <= imported_packages() <= own | extras
    assert not own & {canonicalize_name(r.name) for r in EXTRAS["dev"]}


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_the_lock_has_a_version_of_every_requirement(python):
    environment = {"python_version": python, "python_full_version": f"{python}.1"}
    locked = {}
    for line in requirements("requirements.lock"):
        if line.marker is None or line.marker.evaluate(environment):
            (version,) = line.specifier
            assert version.operator == "=="
            assert locked.setdefault(canonicalize_name(line.name), version.version), line.name
    for requirement in [*requirements("requirements.txt"), *chain(*EXTRAS.values())]:
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        if name != "vae-gan-jax" and (marker is None or marker.evaluate(environment)):
            assert requirement.specifier.contains(locked[name]), f"{name}: run ./run.sh lock"


def test_the_changelog_begins_with_this_version():
    text = (PROJECT / "CHANGELOG.md").read_text()
    version, date = re.search(r"^## (\S+) – (.*)$", text, re.MULTILINE).groups()
    release, _, development = vae_gan_jax.__version__.partition(".dev")
    assert version == release
    assert (date == "unreleased") is bool(development)
    assert re.fullmatch(r"\d+\.\d+\.\d+", release)
