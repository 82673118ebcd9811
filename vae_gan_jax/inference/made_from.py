"""What reconstructions are made from, named by content, as JSON for ``run.provenance``."""

from typing import Any

from vae_gan_jax.config import FIELDS, Config, InputError, to_text
from vae_gan_jax.film.read import video
from vae_gan_jax.run import film_names, provenance
from vae_gan_jax.training import checkpoint

FRAMING = ("trim_start", "trim_end", "crop", "fps", "width", "height")
OUTPUT = ("codec", "quality", "upscale", "sound", "frames_out")


def source_frames(config: Config, source: str) -> dict[str, Any]:
    """What the frames of a film depend on: the film's content and its framing.

    A learnt film that is not at its path has the content that the run learnt. Raises InputError if
    the source is not a film, or the run learnt a different film from this path.
    """
    if entry := film_names.absent_entry(config, source):
        checksum, stream = entry["sha256"], entry["stream"]
    else:
        film = video.probe(source, config.video_stream, config.fps)
        checksum, stream = provenance.film_checksum(film.files, config.run_dir), film.stream
        if not config.source:
            _check_learnt(config, source, checksum)
    return {"film": checksum, "video_stream": str(stream), **_texts(config, FRAMING)}


def output_frames(config: Config, source: str, step: int) -> dict[str, Any]:
    """What the reconstructions of a film by the checkpoint of ``step`` depend on.

    Raises InputError as ``source_frames`` does.
    """
    return {
        **source_frames(config, source),
        "step": step,
        "checkpoint": networks(config.run_dir, step),
        **_texts(config, ("reconstruct_noise", "batch_norm")),
    }


def output_film(config: Config, source: str, step: int) -> dict[str, Any]:
    """What an encoded reconstruction depends on; arguments and errors as for ``output_frames``."""
    origin = output_frames(config, source, step) | _texts(config, OUTPUT)
    if config.sound_file:
        origin["sound"] = provenance.checksum([config.sound_file])
    return origin


def pictures(config: Config, source: str, step: int, settings: tuple[str, ...]) -> dict[str, Any]:
    """What pictures of a film depend on: its reconstruction, and the named settings."""
    return output_frames(config, source, step) | _texts(config, settings)


def networks(run_dir: str, step: int) -> str | None:
    """The content checksum of a checkpoint; None for a damaged one, which is never loaded."""
    try:
        return checkpoint.content_checksum(run_dir, step)
    except InputError:
        return None


def _check_learnt(config: Config, source: str, checksum: str) -> None:
    entries = film_names.learnt_entries(config.run_dir)
    if entries is not None and checksum not in [entry["sha256"] for entry in entries]:
        raise InputError(
            f"{source} is not the film that {config.run_dir} learnt: restore that film, or name "
            "this one with --source."
        )


def _texts(config: Config, names: tuple[str, ...]) -> dict[str, str]:
    return {name: to_text(FIELDS[name], getattr(config, name)) for name in names}
