"""Binary messages: pictures survive, and rubbish is refused in one sentence."""

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.live import frames

FRAME_HWC = np.random.default_rng(0).integers(0, 256, (18, 20, 3), dtype=np.uint8)


def message(content: bytes, picture_format: int, kind: int = frames.SOURCE) -> bytes:
    return frames.Message(kind, picture_format, 7, 12.5, np.nan, content).bytes()


@pytest.mark.parametrize("picture_format", [frames.RGBA, frames.RGB, 4])
def test_lossless_pictures_survive(picture_format):
    raw = picture_format == frames.RGB
    content = FRAME_HWC.tobytes() if raw else frames.encode(FRAME_HWC, picture_format)
    parsed = frames.parse(message(content, picture_format))
    assert (parsed.number, parsed.captured_ms) == (7, 12.5)
    assert np.isnan(parsed.seconds)
    assert np.array_equal(frames.decode(parsed, 20, 18), FRAME_HWC)


@pytest.mark.parametrize("name", ["webp", "jpeg"])
def test_lossy_pictures_stay_alike(name):
    smooth_HWC = np.repeat(np.arange(18, dtype=np.uint8)[:, None, None] * 10, 20, 1).repeat(3, 2)
    content = frames.encode(smooth_HWC, frames.FORMATS[name])
    found_HWC = frames.decode(frames.parse(message(content, frames.FORMATS[name])), 20, 18)
    assert np.abs(found_HWC.astype(int) - smooth_HWC).mean() < 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 23,
        b"\xff" * 100,
        message(b"", frames.RGBA),
        message(bytes(20 * 18 * 4 + 1), frames.RGBA),
        message(FRAME_HWC.tobytes(), 9),
        message(b"RIFF" + bytes(5000), 2),
        message(frames.encode(FRAME_HWC, 4)[:60], 4),
        message(frames.encode(FRAME_HWC[:9], 4), 4),
        message(frames.encode(FRAME_HWC, 4), 3),  # a PNG that calls itself a JPEG
        message(b"", frames.RGBA, kind=2),
    ],
)
def test_rubbish_is_refused(data):
    with pytest.raises(InputError) as refusal:
        frames.decode(frames.parse(data), 20, 18)
    assert str(refusal.value).endswith(".")
    assert len(str(refusal.value)) < 300
