"""Autoencoding video frames: a VAE-GAN learns the frames of a film and plays it back (Broad, 2016).

    model = vae_gan_jax.open("runs/mine")
    codes = model.encode(model.film.at([0, 100]))
    frames = model.decode(codes.mean)

docs/python.md explains the Python API: ``open``, ``train``, ``Codes`` and ``InputError``. jax is
imported by ``open`` and ``train``.

Array names end in their shape, a letter for each axis:

    B  batch                    T  frames of a film, in order     N  other items
    H  height                   W  width                          C  red, green, blue
    P  pixels, or all numbers of a picture in one row
    Z  latent dimensions        K  principal components, or keys of a curve
    F  features of a layer      G  features of the next layer
    S  steps of a dispatch, stops of a path, or shots

A digit is an axis of that length: ``matrix_B23`` is [B, 2, 3]. The code explains any other letter.
``frames`` are uint8, 0..255; ``x`` are the same pictures as floats, -1..1.
"""

import os
from typing import TYPE_CHECKING, Any

from vae_gan_jax.config import InputError, from_python, mode_flags
from vae_gan_jax.inference.codes import Codes
from vae_gan_jax.run import disk_errors

if TYPE_CHECKING:
    from vae_gan_jax.explore.playable import PlayableModel

__all__ = ["Codes", "InputError", "open", "train"]
__version__ = "0.2.0.dev0"


@disk_errors.readable()
def open(run_dir: str | os.PathLike, **settings: Any) -> "PlayableModel":
    """Opens a trained run, or an export, without locking or changing it; a run may be training.

    Args:
      run_dir: the run's folder, or its address gs://BUCKET/PATH, or a folder of --mode=export,
        whose model has no film.
      settings: settings of how films are read and written, such as ``codec="ffv1"``, by the names
        of the flags; by default those of the run.

    Raises:
      InputError: there is no such run, it has no checkpoint, or a setting is invalid.
    """
    from vae_gan_jax import modes
    from vae_gan_jax.explore.playable import playable
    from vae_gan_jax.inference import opened_run
    from vae_gan_jax.run import exported

    given = from_python({**settings, "run_dir": run_dir})
    for name in ("source", "output", "frames_out", "codes"):
        if name in given:
            raise InputError(f"open() does not take {name}: give it to a method of the model.")
    if exported.is_export(given["run_dir"]):
        from vae_gan_jax.inference.export import opened_export

        return playable(opened_export.open_model(given))
    config = modes.resolve(given, "decode", mode_flags.OF_FILMS)
    return playable(opened_run.open_model(config, read_only=True))


@disk_errors.readable()
def train(film: str | os.PathLike, run_dir: str | os.PathLike, **settings: Any) -> "PlayableModel":
    """Learns a film as ``--mode=train`` does; resumes a run that was interrupted.

    The run is locked during the training. Ctrl-C saves a checkpoint, then raises KeyboardInterrupt.

    Args:
      film: the film, several separated by commas, or "demo".
      run_dir: the run's folder.
      settings: any others, by the names of the flags.

    Raises:
      InputError: the film cannot be learnt, or a setting is invalid.
    """
    from vae_gan_jax import modes
    from vae_gan_jax.explore.playable import playable
    from vae_gan_jax.inference import opened_run
    from vae_gan_jax.run import run_folder

    given = from_python({**settings, "film": film, "run_dir": run_dir})
    config = modes.resolve(given, "train")
    try:
        for step in (modes.stage_learnt_films, modes.check_devices, modes.prepare, modes.train):
            step(config, True)
        return playable(opened_run.open_model(config))
    except SystemExit:  # what a signal ends the program with
        raise KeyboardInterrupt from None
    finally:
        run_folder.close_run()
