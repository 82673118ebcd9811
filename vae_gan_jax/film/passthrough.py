"""Writes a film as the network would see it, so that users can check the framing."""

import os

import tqdm

from vae_gan_jax.film.read.video import Framing, decode_blocks, expected_frames, probe
from vae_gan_jax.film.store.batches import prefetch
from vae_gan_jax.film.write.encode import Encoder, FilmFormat


def passthrough(
    source: str | os.PathLike,
    output: str | os.PathLike,
    framing: Framing,
    film_format: FilmFormat = FilmFormat(),  # noqa: B008
    strict: bool = False,
) -> int:
    """Writes the frames that would be learnt as a film with the sound of the source.

    Returns:
      The number of frames written.

    Raises:
      InputError: the source cannot be read, or is damaged while ``strict``; or the output cannot be
        written.
    """
    film = probe(source, framing.video_stream, framing.fps)
    total = expected_frames(film, framing)
    with (
        Encoder(output, framing, film.rate, source, film_format=film_format) as encoder,
        tqdm.tqdm(total=total, desc="frames", unit="frame", mininterval=0.5) as progress,
    ):
        for frames_BHWC in prefetch(decode_blocks(source, framing, strict=strict)):
            encoder.write(frames_BHWC)
            progress.update(len(frames_BHWC))
    return encoder.frames
