"""Reads a folder of numbered pictures as a film."""

import atexit
import dataclasses
import functools
import glob
import itertools
import logging
import os
import re
import shutil
import tempfile
from fractions import Fraction

from PIL import Image, ImageOps

from vae_gan_jax import operating_system
from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.run import disk_errors

KINDS = {"png": "png", "jpg": "jpg", "jpeg": "jpg", "tif": "tif", "tiff": "tif", "bmp": "bmp"}
DEFAULT_RATE = Fraction(24)  # frames a second
ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 lie on their side
TIFF_WIDTH, TIFF_HEIGHT = 256, 257  # tags
TURNED, SIDEWAYS = range(2, 9), range(5, 9)
MAX_LISTED_GAPS = 3  # in a warning

logger = logging.getLogger(__name__)


def are_stills(path: str) -> bool:
    """Whether a path is a folder, or a pattern such as ``frames/*.png``."""
    return os.path.isdir(path) or (glob.has_magic(path) and not os.path.exists(path))


def find_pictures(path: str) -> tuple[str, ...]:
    """The pictures of a folder or pattern in numeric order; logs gaps in their numbers.

    Raises InputError if there are no pictures, they differ in kind or size, or one cannot be read.
    """
    if os.path.isdir(path):
        if not os.access(path, os.R_OK | os.X_OK):
            raise InputError(f"{path} is not readable: check its permissions.")
        names = [os.path.join(path, name) for name in os.listdir(path) if name[0] != "."]
    else:
        names = glob.glob(path)
    files = [name for name in names if _kind(name) and os.path.isfile(name)]
    if not files:
        raise InputError(
            f"{path} holds no PNG, JPEG, TIFF or BMP pictures: give a folder of stills."
        )
    files.sort(key=lambda name: (_numbers(name), name))
    if len({_kind(name) for name in files}) > 1:
        raise InputError(f"{path} holds pictures of several kinds: give a pattern for one of them.")
    _require_one_size(files)
    _warn_of_gaps(path, tuple(files))
    return tuple(files)


def _kind(name: str) -> str | None:
    return KINDS.get(os.path.splitext(name)[1][1:].lower())


def _numbers(name: str) -> list[int]:
    """All numbers in a file name, so that 2 sorts before 10 and chapter 1 before chapter 2."""
    return [int(digits) for digits in re.findall(r"\d+", os.path.basename(name))]


def _require_one_size(files: list[str]) -> None:
    first = None
    for name in files:
        header = _header(name)
        if header is None:
            raise InputError(f"the picture {name} cannot be read: remove it.")
        size = header.size
        first = first or size
        if size != first:
            raise InputError(
                f"{name} is {size[0]}x{size[1]} and {files[0]} is {first[0]}x{first[1]}: "
                "give stills of one size."
            )


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a picture file says about its picture."""

    size: tuple[int, int]  # width and height as shown
    mode: str  # Pillow's, with "A" if there is transparency
    turned: bool  # by its EXIF orientation


@ffmpeg.cached_by_file(maxsize=1 << 20)  # more than the stills of a film
def _header(name: str) -> _Header | None:
    """The header of a picture file; None if it cannot be read."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # only the header is read
    try:
        with Image.open(name) as picture:
            orientation = picture.getexif().get(ORIENTATION, 1)
            mode = picture.mode + ("A" if "transparency" in picture.info else "")
            size = picture.size
            if picture.format == "TIFF":  # Pillow's size is that after turning
                size = picture.tag_v2[TIFF_WIDTH], picture.tag_v2[TIFF_HEIGHT]
    except (OSError, ValueError, SyntaxError, KeyError):
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return _Header(size[::-1] if orientation in SIDEWAYS else size, mode, orientation in TURNED)


def are_mixed(files: tuple[str, ...]) -> bool:
    """Whether the stills differ in the kind of their colours, such as grey beside RGB."""
    return len({_header(name).mode for name in files}) > 1


def are_turned(files: tuple[str, ...]) -> bool:
    """Whether every still says that it is shown turned."""
    return all(_header(name).turned for name in files)


@functools.lru_cache(maxsize=8)  # warns once for each folder
def _warn_of_gaps(path: str, files: tuple[str, ...]) -> None:
    numbers = [_numbers(name)[-1:] for name in files]
    gaps = [
        f"{before[0] + 1}" + (f"-{after[0] - 1}" if after[0] > before[0] + 2 else "")
        for before, after in itertools.pairwise(numbers)
        if before and after and after[0] > before[0] + 1
    ]
    if gaps:
        listed = ", ".join(gaps[:MAX_LISTED_GAPS])
        more = " and others" if len(gaps) > MAX_LISTED_GAPS else ""
        logger.warning("%s has no stills %s%s: these numbers are skipped.", path, listed, more)


@functools.lru_cache(maxsize=8)
def sequence(files: tuple[str, ...]) -> str:
    """A pattern such as ``/tmp/x/%08d.png`` by which ffmpeg reads the files in this order.

    It matches links in a temporary folder that is removed at exit: ffmpeg would sort the files
    alphabetically.
    """
    folder = tempfile.mkdtemp(prefix="stills-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kind = _kind(files[0])
    alike = are_turned(files)  # ffmpeg turns all stills or none
    for number, name in enumerate(files):
        still = os.path.join(folder, f"{number:08d}.{kind}")
        if alike or not _header(name).turned:
            operating_system.link_or_copy(name, still)
        else:
            options = {"quality": 100, "subsampling": 0} if kind == "jpg" else {}
            try:
                with Image.open(name) as picture:
                    ImageOps.exif_transpose(picture).save(still, **options)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise InputError(
                    f"the picture {name} cannot be turned ({disk_errors.reason(error)}): remove it."
                ) from None
    return os.path.join(folder.replace("%", "%%"), f"%08d.{kind}")
