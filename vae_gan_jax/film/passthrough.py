"""A film through everything but the network: how users see their framing before they train."""

import os

import tqdm

from vae_gan_jax.film.read.video import Encoder, Framing, decode_blocks, expected_frames, probe
from vae_gan_jax.film.store.batches import prefetch


def passthrough(
    source: str | os.PathLike,
    output: str | os.PathLike,
    framing: Framing,
    *,
    strict: bool = False,
    **encoding,
) -> int:
    """Writes the very frames that would be learnt as a film, with the source's sound.

    Args:
      source: the film.
      output: the film to write.
      framing: what of the source becomes frames.
      strict: refuse a damaged source.
      **encoding: quality, codec and upscale of ``Encoder``.

    Returns:
      How many frames were written.

    Raises:
      InputError: the source cannot be read, or the output not written.
    """
    film = probe(source, framing.video_stream, framing.fps)
    with (
        Encoder(
            output,
            framing.width,
            framing.height,
            film.rate,
            sound_from=source,
            trim_start=framing.trim_start,
            trim_end=framing.trim_end,
            video_stream=framing.video_stream,
            **encoding,
        ) as encoder,
        tqdm.tqdm(
            total=expected_frames(film, framing), desc="frames", unit="frame", mininterval=0.5
        ) as progress,
    ):
        for frames_BHWC in prefetch(decode_blocks(source, framing, strict=strict)):
            encoder.write(frames_BHWC)
            progress.update(len(frames_BHWC))
    return encoder.frames
