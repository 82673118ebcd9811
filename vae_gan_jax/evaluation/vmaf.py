"""VMAF of reconstructed frames, by the libvmaf of the bundled ffmpeg."""

import contextlib
import csv
import io
import logging
import os
import subprocess

import numpy as np

from vae_gan_jax.film import ffmpeg

# Smaller frames are enlarged bicubically by a whole number. VMAF's model was trained on 1080 rows,
# but scoring those would take a hundred times as long as the networks.
MIN_ROWS = 288

logger = logging.getLogger(__name__)


class Vmaf(contextlib.AbstractContextManager):
    """Scores frames while they are reconstructed; a context manager that ends ffmpeg."""

    def __init__(self, width: int, height: int):
        scale = self.scale_for(height)
        size = f"{scale * width}:{scale * height}"
        picture = f"scale={size}:flags=bicubic:out_color_matrix=bt709,format=yuv420p"
        # One pipe suffices: each picture holds a pair of frames, the source above the output.
        graph = (
            f"split[a][b];[a]crop={width}:{height}:0:0:exact=1,{picture}[source];"
            f"[b]crop={width}:{height}:0:{height}:exact=1,{picture}[output];"
            f"[output][source]libvmaf=log_fmt=csv:log_path=/dev/stdout"
            f":n_threads={os.cpu_count() or 1}"
        )
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{2 * height}", "-r", "25")
        self._frames, self._failed = 0, False
        self._process = ffmpeg.Process(
            [*ffmpeg.QUIET, *raw, "-i", "pipe:0", "-lavfi", graph, "-f", "null", os.devnull],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @staticmethod
    def scale_for(height: int) -> int:
        """The factor by which frames of this height are enlarged."""
        return max(1, -(-MIN_ROWS // height))

    def add(self, source_BHWC: np.ndarray, output_BHWC: np.ndarray) -> None:
        """Adds the next frames, uint8."""
        self._frames += len(source_BHWC)
        if self._failed:
            return
        try:
            self._process.write(np.concatenate([source_BHWC, output_BHWC], axis=1))
        except OSError:  # ffmpeg has stopped; scores() reports the reason
            self._failed = True

    def scores(self) -> np.ndarray | None:
        """The score of each frame, 0..100, ``[T]``; call it after the last frame.

        If this ffmpeg cannot score frames, it logs a warning and returns None.
        """
        self._process.stdin.close()
        log = self._process.stdout.read().decode()
        code, messages = self._process.wait()
        rows = [] if code else csv.DictReader(io.StringIO(log))  # a killed one's last line is cut
        scores_T = np.array([float(row["vmaf"]) for row in rows])
        if code or len(scores_T) != self._frames:
            reason = ffmpeg.failure_reason(messages)
            logger.warning("VMAF is left out, because this ffmpeg cannot score it (%s)", reason)
            return None
        return scores_T

    def __exit__(self, *_):
        self._process.kill()
