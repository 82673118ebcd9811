"""What a run writes down for TensorBoard: its metrics and its grids of samples."""

import contextlib
import os
import struct
import time
from pathlib import Path

from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from vae_gan_jax.training.distributed import processes

FOLDER = "tensorboard"


class Events:
    """A file of events in ``run_dir/tensorboard``; a context manager.

    For looking at only: all of it is in ``metrics.jsonl`` and ``samples`` as well, so that what a
    full disk does not take is left out here.

    Args:
      run_dir: the run's folder.
      step: the step at which training starts or goes on. TensorBoard forgets what earlier files
        say of the steps after it.
    """

    def __init__(self, run_dir: str | Path, step: int):
        self._file = None
        if processes.index():  # the first of several writes
            return
        with contextlib.suppress(OSError):
            folder = Path(run_dir) / FOLDER
            folder.mkdir(exist_ok=True)
            # TensorBoard reads a folder's files by name: seconds first, then what tells them apart.
            name = f"events.out.tfevents.{time.time():.0f}.{time.time_ns()}.{os.getpid()}"
            self._file = (folder / name).open("xb", buffering=0)
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._file is not None:
            self._file.close()

    def metrics(self, line: dict[str, float | None]) -> None:
        """A line of metrics at its "step"; a metric without a value is left out."""
        values = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in line.items()
            if tag != "step" and value is not None
        ]
        self._write(Event(step=line["step"], summary=Summary(value=values)))

    def picture(self, tag: str, step: int, width: int, height: int, png: bytes) -> None:
        """A picture, as PNG, of so many pixels."""
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def _write(self, event: Event) -> None:
        """Appends an event, whole or not at all."""
        if self._file is None:
            return
        event.wall_time = time.time()
        end, record = self._file.tell(), memoryview(_record(event.SerializeToString()))
        try:
            while record:
                record = record[self._file.write(record) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
                self._file.seek(end)


def _record(content: bytes) -> bytes:
    """A record of TensorFlow's format: length and content, each followed by its checksum.

    tensorboardX writes these too, but through buffers that cannot be taken back from a full disk.
    """
    length = struct.pack("<Q", len(content))
    return length + _masked_checksum(length) + content + _masked_checksum(content)


def _masked_checksum(content: bytes) -> bytes:
    checksum = crc32c(content)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)
