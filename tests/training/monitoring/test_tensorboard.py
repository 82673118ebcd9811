"""TensorBoard events: their content, resuming, a full disk."""

import contextlib
import resource
import struct

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from vae_gan_jax.training.monitoring import tensorboard


def events_in(run_dir):
    """The events of all files, in the order that the files were made."""
    events = []
    for path in sorted((run_dir / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            events.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return events


def test_metrics_and_pictures(tmp_path):
    with tensorboard.Events(tmp_path, 0) as events:
        events.metrics({"step": 20, "loss/encoder": 0.5, "loss/decoder": None})
        events.picture("samples", 40, (2, 3, 3), b"a picture")
    _, start, metrics, picture = events_in(tmp_path)
    assert (start.step, start.session_log.status) == (1, SessionLog.START)
    assert metrics.step == 20
    values = [(value.tag, value.simple_value) for value in metrics.summary.value]
    assert values == [("loss/encoder", 0.5)]
    (value,) = picture.summary.value
    assert (picture.step, value.tag) == (40, "samples")
    assert (value.image.height, value.image.width) == (2, 3)
    assert value.image.encoded_image_string == b"a picture"


def test_a_resumed_run_hides_what_comes_after_its_checkpoint(tmp_path):
    for step in (0, 40):
        with tensorboard.Events(tmp_path, step) as events:
            events.metrics({"step": 60, "x": 1.0})
    starts = [event.step for event in events_in(tmp_path) if event.HasField("session_log")]
    assert starts == [1, 41]


def test_a_full_disk_leaves_no_partial_record(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tensorboard.Events(tmp_path, 0) as events:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        try:
            events.picture("samples", 20, (2, 3, 3), bytes(1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        events.metrics({"step": 40, "x": 2.0})
    assert [event.step for event in events_in(tmp_path)] == [0, 1, 40]


def test_records_equal_those_of_tensorboardx(tmp_path):
    event = Event(step=7, wall_time=1.0)
    with contextlib.closing(RecordWriter(str(tmp_path / "theirs"))) as writer:
        writer.write(event.SerializeToString())
    assert (tmp_path / "theirs").read_bytes() == tensorboard._record(event.SerializeToString())
