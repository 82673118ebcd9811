"""Sends the stage to other programs: NDI, Syphon, Spout, a virtual camera, each by its package.

None of these can run where the tests run: they follow the packages' documentation.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.live.frames import rgba
from vae_gan_jax.run import disk_errors

NAME = "vae_gan_jax"


def _virtual_camera(width: int, height: int, rate: float):
    import pyvirtualcam

    camera = pyvirtualcam.Camera(width=width, height=height, fps=rate)
    return camera.send, camera.close


def _ndi(width: int, height: int, rate: float):
    from cyndilib.sender import Sender
    from cyndilib.video_frame import VideoSendFrame
    from cyndilib.wrapper.ndi_structs import FourCC

    sender, frame = Sender(NAME), VideoSendFrame()
    frame.set_resolution(width, height)
    frame.set_frame_rate(Fraction(rate).limit_denominator(1001))
    frame.set_fourcc(FourCC.RGBA)
    sender.set_video_frame(frame)
    sender.open()
    return lambda picture_HWC: sender.write_video_async(rgba(picture_HWC).ravel()), sender.close


def _syphon(width: int, height: int, rate: float):
    import syphon
    from syphon.utils.numpy import copy_image_to_mtl_texture
    from syphon.utils.raw import create_mtl_texture

    server = syphon.SyphonMetalServer(NAME)
    texture = create_mtl_texture(server.device, width, height)

    def send(picture_HWC):
        copy_image_to_mtl_texture(rgba(picture_HWC), texture)
        server.publish_frame_texture(texture)

    return send, server.stop


def _spout(width: int, height: int, rate: float):
    import SpoutGL
    from OpenGL import GL

    sender = SpoutGL.SpoutSender()
    sender.setSenderName(NAME)

    def send(picture_HWC):
        sender.sendImage(rgba(picture_HWC).tobytes(), width, height, GL.GL_RGBA, False, 0)
        sender.setFrameSync(NAME)

    return send, sender.releaseSender


OUTPUTS: dict[str, tuple[str, str, Callable]] = {  # module, package, how to open it
    "ndi": ("cyndilib", "cyndilib", _ndi),
    "syphon": ("syphon", "syphon-python", _syphon),
    "spout": ("SpoutGL", "SpoutGL", _spout),
    "camera": ("pyvirtualcam", "pyvirtualcam", _virtual_camera),
}


def available() -> list[dict]:
    """The outputs as the page reads them."""
    rows = []
    for name, (module, package, _) in OUTPUTS.items():
        is_there = importlib.util.find_spec(module) is not None
        about = "untested" if is_there else f"pip install {package} (untested)"
        rows.append({"name": name, "there": is_there, "about": about})
    return rows


@dataclasses.dataclass
class Output:
    """An open output."""

    send: Callable[[np.ndarray], object]
    close: Callable[[], object]


def open_output(name: str, width: int, height: int, rate: float) -> Output:
    """Opens an output; raises InputError if that is impossible."""
    if name not in OUTPUTS:
        raise InputError(f"there is no output {name!r:.40}: give one of {', '.join(OUTPUTS)}.")
    _, package, opened = OUTPUTS[name]
    try:
        return Output(*opened(width, height, rate))
    except Exception as error:  # whatever a missing package, driver or library raises
        reason = disk_errors.reason(error)
        raise InputError(
            f"the output {name} cannot be opened ({reason}): install {package} and what it needs."
        ) from None
