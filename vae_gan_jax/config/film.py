"""FilmConfig: the films of a run, and the part of them that becomes frames."""

import dataclasses
from fractions import Fraction

from vae_gan_jax.config import flag_text
from vae_gan_jax.config.field import setting


@dataclasses.dataclass(frozen=True)
class FilmConfig:
    """The films of a run, and the part of them that becomes frames (4.1, 5.1)."""

    film: str = setting(
        "films", "",
        "The film to learn: a file or address that ffmpeg opens, a folder or glob of numbered "
        "stills, several of these separated by commas, or demo for the embedded film.",
        fixed=True,
    )  # fmt: skip
    source: str = setting("films", "", "The film to reconstruct; default: the learnt film.")
    trim_start: float | None = setting(
        "films", None, "Where the film starts, seconds or H:MM:SS.",
        fixed=True, parse=flag_text.parse_time, show=flag_text.show_time,
    )  # fmt: skip
    trim_end: float | None = setting(
        "films", None, "Where the film ends, seconds or H:MM:SS.",
        fixed=True, parse=flag_text.parse_time, show=flag_text.show_time,
    )  # fmt: skip
    exclude: tuple[tuple[float, float | None], ...] = setting(
        "films", (), "Time ranges to leave out of training, such as 0:00-1:30,1:52:00-end.",
        fixed=True, parse=flag_text.parse_ranges, show=flag_text.show_ranges,
    )  # fmt: skip
    hold_out: flag_text.HoldOut | None = setting(
        "films", None,
        "Frames to hold out of training, so that --mode=evaluate can measure how the networks "
        "generalise: 10s/60s for the last ten seconds of each minute of the film, or shots/5 for "
        "every fifth shot.",
        fixed=True, parse=flag_text.parse_hold_out, show=flag_text.show_hold_out,
    )  # fmt: skip
    crop: str = setting(
        "films", "16:9",
        "Which part of the picture: the middle, cropped to the aspect ratio W:H; the rectangle "
        "W:H:X:Y in pixels; auto (without black bars, then 16:9); none (all of it, letterboxed).",
        fixed=True,
    )  # fmt: skip
    video_stream: int | None = setting(
        "films", None,
        "Number of the video stream, from 0; default: the stream that is flagged as default, then "
        "the longest, then the largest.",
        fixed=True, parse=flag_text.parse_whole, minimum=0,
    )  # fmt: skip
    fps: Fraction | None = setting(
        "films", None, "Frame rate of numbered stills, frames per second; default: 24.",
        fixed=True, parse=flag_text.parse_rate,
    )  # fmt: skip
    strict: bool = setting(
        "films", False,
        "Refuse a damaged film instead of using the frames that decode; stop training if a "
        "checkpoint, metrics or samples cannot be written.",
    )  # fmt: skip
    frames_dir: str = setting(
        "films", "", "Folder of prepared frames, which runs can share; default: RUN_DIR/frames."
    )
