"""Binary messages of the live page: pictures and sound behind a header, see PROTOCOL.md."""

import dataclasses
import io
import math
import struct

import numpy as np
from PIL import Image

from vae_gan_jax.config import InputError
from vae_gan_jax.run import disk_errors

HEADER = struct.Struct("<BBHIdd")  # kind, format, 0, number, capture time in ms, seconds
SOURCE, RESULT, PLAYED, SOUND = 1, 2, 3, 4  # kinds
RGBA, RGB = 0, 1  # formats of raw rows
PILLOW = {2: "WEBP", 3: "JPEG", 4: "PNG"}
FORMATS = {"rgba": RGBA, "webp": 2, "jpeg": 3}  # that a page can ask for
WEBP_SPEED, QUALITY = 2, 85  # of Pillow: 0 is the fastest, 100 the best


@dataclasses.dataclass(frozen=True)
class Message:
    """A binary message; ``captured_ms`` is the page's clock, ``seconds`` of a film or NaN."""

    kind: int
    format: int
    number: int
    captured_ms: float
    seconds: float
    content: bytes | memoryview

    def bytes(self) -> bytes:
        """The message as it is sent."""
        header = self.kind, self.format, 0, self.number, self.captured_ms, self.seconds
        return b"".join((HEADER.pack(*header), self.content))


def parse(data: bytes) -> Message:
    """The message of these bytes; raises InputError if a page cannot have sent it."""
    if len(data) < HEADER.size:
        raise InputError(
            f"a binary message of {len(data)} bytes has no header: give {HEADER.size} bytes and "
            "the content."
        )
    kind, picture_format, _, number, captured_ms, seconds = HEADER.unpack_from(data)
    if kind not in (SOURCE, SOUND):
        raise InputError(f"a binary message has the unknown kind {kind}: give {SOURCE} or {SOUND}.")
    captured_ms = captured_ms if math.isfinite(captured_ms) else 0.0
    seconds = seconds if math.isfinite(seconds) else math.nan
    content = memoryview(data)[HEADER.size :]
    return Message(kind, picture_format, number, captured_ms, seconds, content)


def decode(message: Message, width: int, height: int) -> np.ndarray:
    """The picture of a message, uint8 ``[height, width, 3]``; InputError if it is damaged."""
    if message.format in (RGBA, RGB):
        channels = 4 if message.format == RGBA else 3
        expected = width * height * channels
        if len(message.content) != expected:
            raise InputError(
                f"a raw picture has {len(message.content)} bytes instead of {expected}: give one "
                f"of {width}x{height} pixels."
            )
        pixels_HWC = np.frombuffer(message.content, np.uint8).reshape(height, width, channels)
        return pixels_HWC if channels == 3 else np.ascontiguousarray(pixels_HWC[..., :3])
    if message.format not in PILLOW:
        raise InputError(f"a picture has the unknown format {message.format}: give one of 0 to 4.")
    name = PILLOW[message.format]
    try:
        with Image.open(io.BytesIO(message.content), formats=[name]) as picture:
            if picture.size == (width, height):
                return np.asarray(picture.convert("RGB"))
            found = "x".join(map(str, picture.size))
    except Exception as error:  # a damaged file can raise whatever its decoder raises
        reason = disk_errors.reason(error, 100)
        raise InputError(f"a {name} picture cannot be read ({reason}): give another.") from None
    raise InputError(f"a {name} picture has {found} pixels: give one of {width}x{height}.")


def rgba(frame_HWC: np.ndarray) -> np.ndarray:
    """An opaque picture ``[H, W, 4]``."""
    height, width, _ = frame_HWC.shape
    pixels_HWC = np.full((height, width, 4), 255, np.uint8)
    pixels_HWC[..., :3] = frame_HWC
    return pixels_HWC


def encode(frame_HWC: np.ndarray, picture_format: int) -> bytes:
    """A picture as the content of a message."""
    if picture_format == RGBA:
        return rgba(frame_HWC).tobytes()
    file = io.BytesIO()
    name = PILLOW[picture_format]
    options = {"method": WEBP_SPEED} if name == "WEBP" else {}
    Image.fromarray(frame_HWC).save(file, format=name, quality=QUALITY, **options)
    return file.getvalue()
