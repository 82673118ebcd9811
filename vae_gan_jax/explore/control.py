"""What a control of presets is: its parameters, its options, and its function."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.model.bend_operations import Parameter

REQUIRED = object()  # the default of an option that every preset gives


@dataclasses.dataclass(frozen=True)
class Option:
    """A fixed choice of a control.

    ``kind`` is whole (a number in ``low..high``), seconds, time (of the film), layer, features, run
    (a folder) or text.
    """

    kind: str
    default: Any
    help: str
    low: float = -math.inf
    high: float = math.inf
    is_static: bool = False  # compiled code depends on it


class Moment(NamedTuple):
    """When the frames of a batch are shown, and what they were made from."""

    times_B: Any  # seconds from the start of the film that is written
    numbers_B: Any  # of the frames, from 0
    padding_B: Any  # true for rows that fill a short batch
    source_BHWC: Any = None  # uint8 frames; None: there is no source film


class Inputs(NamedTuple):
    """What a control's function takes for a batch, besides x."""

    parameters: dict[str, Any]  # [B] each
    constants: Any
    moment: Moment
    static: dict[str, Any]  # options that compiled code depends on


@dataclasses.dataclass(frozen=True)
class Control:
    """A control of one stage: codes, bend (activations), picture or model.

    Attributes:
      constants: function of (film, options) that computes, once, what ``function`` takes as such.
      function: of (x, Inputs): the changed x, which is ``z_BZ`` or pictures ``[B, H, W, 3]``,
        float32 0..255. With a state it is of (x, Inputs, state) and returns both.
      start: function of the shape of x without B that returns the state before the first frame;
        None: the control has no state, so frames do not depend on earlier ones.
    """

    stage: str
    help: str
    parameters: dict[str, Parameter]
    options: dict[str, Option] = dataclasses.field(default_factory=dict)
    constants: Callable[[FilmContext, dict[str, Any]], Any] = lambda film, options: ()
    function: Callable | None = None
    start: Callable[[tuple[int, ...]], Any] | None = None

    @property
    def first(self) -> str:
        """The name of the parameter whose neutral value turns the control off."""
        return next(iter(self.parameters))

    def apply(self, x, inputs: Inputs, state):
        """The changed x and the state for the next batch.

        At the neutral value of the first parameter x stays bit for bit.
        """
        if self.start:
            changed, state = self.function(x, inputs, state)
        else:
            changed = self.function(x, inputs)
        is_neutral_B = inputs.parameters[self.first] == self.parameters[self.first].neutral
        return jnp.where(over(is_neutral_B, x), x, changed), state


def over(values_B, x):
    """Values ``[B]`` with as many axes as x."""
    return values_B.reshape(values_B.shape + (1,) * (x.ndim - 1))
