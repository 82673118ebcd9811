"""Data flows one way: film and model stand on the ground, nothing imports main."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "vae_gan_jax"
MAY_IMPORT = {
    "whole_file": set(),
    "signals": set(),
    "flag_text": set(),
    "bucket": {"flag_text", "whole_file"},
    "config": {"flag_text", "bucket"},
    "run_folder": {"config", "whole_file", "bucket"},
    "run_lease": {"flag_text", "bucket"},
    "run_mirror": {"run_lease", "run_folder", "config", "whole_file", "bucket"},
    "film": {"film", "config", "whole_file", "bucket"},
    "model": {"model", "config"},
    "training": {
        *("run_mirror", "run_folder", "whole_file", "bucket"),
        *("signals", "training", "film", "model", "config"),
    },
    "output": {"whole_file", "bucket", "output", "training", "film", "model", "config"},
    "opened_run": {"run_folder", "bucket", "output", "film", "config"},
    "modes": {
        *("opened_run", "run_folder", "whole_file", "bucket"),
        *("output", "training", "film", "config"),
    },
    "main": {"modes", "signals", "run_mirror", "run_folder", "bucket", "training", "config"},
}


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, at whatever depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_each_part_imports_only_what_lies_below_it():
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if part == "__init__":
            continue
        inside = {name.split(".")[1] for name in imports(path) if name.startswith("vae_gan_jax.")}
        assert inside <= MAY_IMPORT[part], f"{path} imports {inside - MAY_IMPORT[part]}"


def test_the_film_package_does_without_jax():
    for path in (PACKAGE / "film").glob("*.py"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"jax", "flax", "optax", "orbax"}, path


def test_main_alone_touches_flags():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "main.py":
            assert not any(name.startswith("absl") for name in imports(path)), path
