"""The folder ``live`` of a run: the token, presets and recordings. Nothing else is reachable."""

import logging
import os
import re
import secrets
from pathlib import Path

from vae_gan_jax.config import InputError, flagfile
from vae_gan_jax.explore import presets
from vae_gan_jax.run import atomic_io

NAME = re.compile(r"[\w-][\w. -]{0,79}")
TOKEN = re.compile(r"[\w-]{8,80}", re.ASCII)
SHIPPED = "experiments/presets"
PRESETS, RECORDINGS = ("presets", ".yaml"), ("recordings", ".mp4")

logger = logging.getLogger(__name__)


def shipped_presets() -> list[str]:
    """The names of the presets that come with the program and have controls."""
    folders = [folder / SHIPPED for folder in (flagfile.PACKAGE, flagfile.PACKAGE.parent)]
    paths = [path for folder in folders for path in folder.glob("*.yaml")]
    return sorted({path.stem for path in paths if _has_controls(path)})


def _has_controls(path: Path) -> bool:
    try:
        return bool(presets.load(path).controls)
    except InputError as error:  # a file that somebody put into a checkout
        logger.warning("%s", error)
        return False


class LiveFolder:
    """The presets and recordings of a run by name.

    Raises InputError if the folder is not writable.
    """

    def __init__(self, run_dir: str | Path):
        self.path = Path(run_dir) / "live"
        self.path.mkdir(exist_ok=True)
        if not atomic_io.is_writable(self.path):
            raise InputError(f"{self.path} is not writable: change its permissions.")

    def token(self) -> str:
        """The token of the page's address, the same for every start."""
        path = self.path / "token"
        token = path.read_text(errors="replace").strip() if path.is_file() else ""
        if not TOKEN.fullmatch(token):
            token = secrets.token_urlsafe(16)
            atomic_io.write(path, token + "\n")
            path.chmod(0o600)
        return token

    def names(self, kind: tuple[str, str]) -> list[str]:
        """The names of all presets or recordings, without ``.yaml``."""
        folder, extension = kind
        paths = sorted((self.path / folder).glob(f"*{extension}"))
        names = [path.name for path in paths if path.is_file() and NAME.fullmatch(path.name)]
        return [name.removesuffix(PRESETS[1]) for name in names]

    def path_of(self, kind: tuple[str, str], name: str) -> Path:
        """The path of a preset or recording; raises InputError if the name is not valid."""
        folder, extension = kind
        given, name = name, name if kind == RECORDINGS else f"{name}{extension}"
        if not NAME.fullmatch(name) or not name.endswith(extension) or given.endswith(" "):
            raise InputError(
                f"{given!r:.100} is not a name: give letters, digits, spaces, _, - and dots, at "
                f"most {80 - len(extension)}, and no dot at the start."
            )
        path = self.path / folder / name
        path.parent.mkdir(exist_ok=True)
        return path

    def existing(self, kind: tuple[str, str], name: str) -> Path:
        """The path of an existing file, or of a shipped preset; raises InputError without one."""
        path = self.path_of(kind, name)
        if kind == PRESETS and not path.exists():
            path = Path(flagfile.shipped(f"{SHIPPED}/{path.name}"))
        if not path.is_file() or os.path.islink(path):
            raise InputError(f"there is no {kind[0][:-1]} {name}: give one of those in the list.")
        return path
