"""The documentation names flags, modes, files and sections that exist."""

import re
from pathlib import Path

import pytest
from absl import flags

from vae_gan_jax import main, modes

PROJECT = Path(__file__).parent.parent
MANUAL = [PROJECT / name for name in ("README.md", "WORKSPACE.md", "CONTRIBUTING.md")]
MANUAL += sorted((PROJECT / "docs").glob("*.md"))
PAGES = [*MANUAL, *sorted((PROJECT / "benchmarks").rglob("*.md"))]
MAX_LINES = {"README.md": 200, "WORKSPACE.md": 110}
OTHER_PROGRAMS = (
    "benchmarks.",
    "ruff",
    "gcloud",
    "pip wheel",
    "pip install",
    "docker build",
    "XLA_FLAGS",
    "tensorboard",
    "pytest",
    "pyright",
    "run.sh test",
)


def by_name(path):
    return str(path.relative_to(PROJECT))


def anchors(path):
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", MANUAL, ids=by_name)
def test_a_page_of_the_manual_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES.get(path.name, 150)


@pytest.mark.parametrize("path", [p for p in MANUAL if p.stem != "pictures"], ids=by_name)
def test_a_line_of_prose_fits_an_editor(path):
    prose = re.sub(r"^```.*?^```$|^\|.*?$", "", path.read_text(), flags=re.M | re.S)
    assert max(map(len, prose.splitlines())) <= 120


@pytest.mark.parametrize("path", MANUAL, ids=by_name)
def test_flags_exist(path):
    assert main  # defines the flags
    for line in path.read_text().splitlines():
        if not any(program in line for program in OTHER_PROGRAMS):
            names = set(re.findall(r"--([a-z][a-z0-9_]*)", line)) - {"flagfile", "help"}
            assert names <= set(flags.FLAGS), line


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", MANUAL, ids=by_name)
def test_files_in_commands_exist(path):
    for name in re.findall(
        r"\b(?:experiments|benchmarks|tests|vae_gan_jax)/[\w/]+\.(?:flags|txt|md|py)",
        path.read_text(),
    ):
        assert (PROJECT / name).exists(), name


def test_contributing_names_what_the_code_has():
    code = "".join(
        path.read_text()
        for folder in ("vae_gan_jax", "tests")
        for path in (PROJECT / folder).rglob("*.py")
    )
    for name in re.findall(r"`(?:\w+\.)?([A-Za-z_]+)`", (PROJECT / "CONTRIBUTING.md").read_text()):
        assert re.search(rf"\b{name}\b", code) or name == "NAME", name


def test_readme_lists_every_mode_and_experiment():
    text = (PROJECT / "README.md").read_text()
    assert set(
        re.findall(r"^\| `(\w+)`.*\|$", text.split("## Modes")[1].split("##")[0], re.MULTILINE)
    ) == (set(modes.MODES))
    rows = re.findall(
        r"^\| (`.*?) \|", text.split("## Experiments")[1].split("\n## ")[0], re.MULTILINE
    )
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    flagfiles = {path.stem for path in (PROJECT / "experiments").glob("*.flags")}
    assert listed == flagfiles - {"base"}
