"""How like its source the film of a run is: PSNR, and whether frames are recognised.

    python -m benchmarks.likeness RUN_DIR

PSNR is that of the mean squared error over all frames. A frame is recognised if the nearest frame
of the source (mean squared error), among one in every twelve, lies within half a second of it; of
the demo film, if the nearest among all lies in the same shot. Counted are the frames that pass this
with the source, less the frame itself, in place of the reconstruction, since black ones are alike;
what all frames give is told too.
"""

import sys
from pathlib import Path

import numpy as np

from vae_gan_jax import run_folder
from vae_gan_jax.config import Config
from vae_gan_jax.film import demo_film, video
from vae_gan_jax.main import open_store

EVERY = 12  # frames between candidates


def nearest(frames_TP: np.ndarray, candidates_NP: np.ndarray, without_itself: bool) -> np.ndarray:
    """Number of the candidate with the least squared error to each frame, ``[T]``."""
    squares_N = (candidates_NP**2).sum(1)
    result = []
    for start in range(0, len(frames_TP), 512):
        block_BP = frames_TP[start : start + 512]
        distance_BN = squares_N - 2 * block_BP @ candidates_NP.T  # but for the block's own square
        if without_itself:
            rows = np.arange(len(block_BP))
            distance_BN[rows, start + rows] = np.inf
        result.append(distance_BN.argmin(1))
    return np.concatenate(result)


def main(run_dir: Path) -> None:
    """Prints the measures of a run's reconstruction of its own film."""
    config = Config(**run_folder.recorded_settings(run_dir))
    name = run_folder.name_of(run_folder.learnt_films(config)[0])
    store = open_store(config)
    source_THWC = store.frames_THWC
    whole = video.Framing(config.width, config.height, crop="none")
    made = run_dir / run_folder.FILMS / f"{name}.mp4"
    output_THWC = np.stack(list(video.decode(made, whole)))
    assert len(output_THWC) == len(source_THWC)

    source_TP, output_TP = (
        frames.reshape(len(frames), -1).astype(np.float32) for frames in (source_THWC, output_THWC)
    )
    error_T = ((source_TP - output_TP) ** 2).mean(1)
    print(f"{len(error_T)} frames, PSNR {10 * np.log10(255**2 / error_T.mean()):.2f} dB")

    frame_T = np.arange(len(source_TP))
    if config.film == run_folder.DEMO:
        shot_T = np.concatenate(
            [np.full(shot.stop - shot.start, number) for number, shot in enumerate(demo_film.SHOTS)]
        )

        def passes(frames_TP, without_itself=False):
            return shot_T[nearest(frames_TP, source_TP, without_itself)] == shot_T

        source_passes_T, output_passes_T = passes(source_TP, without_itself=True), passes(output_TP)
        for number, shot in enumerate(demo_film.SHOTS):
            print(f"  {shot.name:10} {output_passes_T[shot_T == number].mean():6.1%}")
        where = "in the same shot"
    else:
        half_a_second = float(store.rate) / 2

        def passes(frames_TP):
            found_T = EVERY * nearest(frames_TP, source_TP[::EVERY], without_itself=False)
            return np.abs(found_T - frame_T) <= half_a_second

        source_passes_T, output_passes_T = passes(source_TP), passes(output_TP)
        where = "within half a second"
    counted, share = source_passes_T.sum(), output_passes_T[source_passes_T].mean()
    print(
        f"nearest source frame {where}: {share:.1%} of the {counted} frames that the source passes,"
    )
    print(f"{output_passes_T.mean():.1%} of all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
