"""Records of stops. With them a resumed run equals an uninterrupted one.

A stop saves at once, even in the middle of a line of metrics or while training diverges.
"""

import dataclasses
import json
import logging
import zlib
from typing import Any

from vae_gan_jax.run.damaged_json import DAMAGE
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.monitoring.run_log import RunLog

FILE = "stops.json"
MAX_STOPS = 3  # the latest; checkpoints of earlier stops have been deleted

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Stop:
    """What a resumed run needs besides the training state."""

    healthy: bool = True  # whether a roll-back may return to the checkpoint
    # See DivergenceMonitor; at the last line of metrics.
    bad_steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    # Metrics of each step after the last line.
    unfinished: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Stops:
    """The stops of a run by step, in ``RUN/stops.json``; process 0 reads and writes them."""

    def __init__(self, log: RunLog):
        self._log, self._path = log, log.run_dir / FILE
        self._stops: dict[int, Stop] = {}
        if processes.index() == 0 and self._path.exists():
            self._read()

    def _read(self) -> None:
        try:
            checksum, stops = json.loads(self._path.read_text())
            if checksum != zlib.crc32(json.dumps(stops).encode()):
                raise ValueError
            self._stops = {int(step): Stop(**stop) for step, stop in stops.items()}
        except DAMAGE:
            logger.warning("%s is damaged: the next line of metrics covers fewer steps", self._path)

    def begin(self, step: int) -> Stop:
        """Drops the stops after ``step``, where training begins; returns the stop at that step."""
        if max(self._stops, default=0) > step:
            self._stops = {at: stop for at, stop in self._stops.items() if at <= step}
            self._write()
        return self._stops.get(step, Stop())

    def add(self, step: int, stop: Stop) -> None:
        """Writes a stop; must precede its checkpoint."""
        self._stops[step] = stop
        self._stops = dict(sorted(self._stops.items())[-MAX_STOPS:])
        self._write()

    def unhealthy(self) -> set[int]:
        """The steps of checkpoints that a roll-back must not return to."""
        return {step for step, stop in self._stops.items() if not stop.healthy}

    def finish(self) -> None:
        """Deletes the file at the end of training."""
        if processes.index() == 0:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        stops = {str(step): dataclasses.asdict(stop) for step, stop in self._stops.items()}
        content = json.dumps([zlib.crc32(json.dumps(stops).encode()), stops])
        self._log.file(self._path, content.encode())
