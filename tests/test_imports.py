"""Data flows one way: film and model stand on the ground, nothing imports main."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "vae_gan_jax"
# From the ground up. A room imports itself and the floors below it; rooms of one floor are apart.
FLOORS = [
    ["operating_system", "pages"],
    ["config"],
    ["run"],
    ["film", "model"],
    ["training"],
    ["inference"],
    ["figures"],
    ["evaluation", "explore"],
    ["report", "live"],
    ["modes"],
    ["main"],
]


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


def test_each_room_imports_only_the_floors_below_it():
    below, rooms = set(), set()
    for floor in FLOORS:
        for room in floor:
            paths = [*(PACKAGE / room).rglob("*.py"), *PACKAGE.glob(f"{room}.py")]
            for path in paths:
                inside = {n.split(".")[1] for n in imports(path) if n.startswith("vae_gan_jax.")}
                assert inside <= below | {room}, f"{path} imports {inside - below - {room}}"
            rooms |= {room} if paths else set()
        below |= set(floor)
    assert rooms == {path.stem for path in PACKAGE.iterdir() if path.stem[0] != "_"}


def test_the_film_package_does_without_jax():
    for path in (PACKAGE / "film").rglob("*.py"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"jax", "flax", "optax", "orbax"}, path


def test_main_alone_touches_flags():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "main.py":
            assert not any(name.startswith("absl") for name in imports(path)), path
