"""TensorBoard events of a run: its metrics and its grids of samples."""

import contextlib
import os
import struct
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from vae_gan_jax.run import atomic_io

FOLDER = "tensorboard"


class Events(contextlib.AbstractContextManager):
    """A file of events in ``run_dir/tensorboard``; a context manager.

    Everything in it is also in ``metrics.jsonl`` and ``samples``, so an event that does not fit on
    a full disk is dropped. ``step`` is where training starts or resumes: TensorBoard hides later
    steps of earlier files.
    """

    def __init__(self, run_dir: str | Path, step: int):
        self._file = None
        with contextlib.suppress(OSError):
            folder = Path(run_dir) / FOLDER
            folder.mkdir(exist_ok=True)
            # TensorBoard reads the files in the order of their names, which begin with seconds.
            name = f"events.out.tfevents.{time.time():.0f}.{time.time_ns()}.{os.getpid()}"
            self._file = (folder / name).open("xb", buffering=0)
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def __exit__(self, *exception):
        if self._file is not None:
            self._file.close()

    def metrics(self, line: dict[str, float | None]) -> None:
        """Writes a line of metrics at its "step", without the metrics that are ``None``."""
        values = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in line.items()
            if tag != "step" and value is not None
        ]
        self._write(Event(step=line["step"], summary=Summary(value=values)))

    def picture(self, tag: str, step: int, shape: tuple[int, ...], png: bytes) -> None:
        """Writes a PNG of the shape ``(height, width, channels)``."""
        height, width, channels = shape
        image = Summary.Image(
            width=width, height=height, colorspace=channels, encoded_image_string=png
        )
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def _write(self, event: Event) -> None:
        """Appends a whole event, or nothing where the disk is full."""
        if self._file is not None:
            event.wall_time = time.time()
            with contextlib.suppress(OSError):
                atomic_io.append(self._file, _record(event.SerializeToString()))


def _record(content: bytes) -> bytes:
    """A TFRecord: length and content, each followed by its checksum."""
    # tensorboardX's own writer is buffered and leaves half a record on a full disk.
    length = struct.pack("<Q", len(content))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return b"".join((length, next(checksums), content, next(checksums)))
