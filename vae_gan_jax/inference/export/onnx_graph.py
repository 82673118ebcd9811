"""Builds an ONNX graph from few plain operators; layers are in the order NCHW."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vae_gan_jax.model.plain_convolutions import output_side

OPSET = 17
IR_VERSION = 8  # of the file format; that of this operator set
LAYER_NORM_EPSILON = 1e-6  # of flax's LayerNorm
TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


class Graph:
    """The nodes and constants of a graph; its methods add nodes and return the result's name.

    Weights are stored in ``precision``. Convolutions and what lies between them compute in it;
    everything else computes in float32: sums over many numbers need it.
    """

    def __init__(self, precision: str = "float32"):
        self.precision = precision
        self._nodes, self._constants = [], []

    def node(self, operator: str, *inputs: str | np.ndarray, **attributes) -> str:
        """Adds a node with one output; arrays among the inputs become constants."""
        names = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        output = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, names, [output], output, **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Adds a constant of the array's type."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def cast(self, x: str, precision: str) -> str:
        """Converts a tensor."""
        return self.node("Cast", x, to=TYPES[precision])

    def enter(self, x: str) -> str:
        """Converts from float32 to the type of the convolutions."""
        return x if self.precision == "float32" else self.cast(x, self.precision)

    def leave(self, x: str) -> str:
        """Converts from the type of the convolutions to float32."""
        return x if self.precision == "float32" else self.cast(x, "float32")

    def weights(self, array: np.ndarray) -> str:
        """A constant that is stored in the graph's precision and computes in float32."""
        return self.leave(self.constant(self._rounded(array)))

    def number(self, value: float) -> np.ndarray:
        """A number beside tensors of the convolutions' type."""
        return self._rounded(np.array(value))

    def _rounded(self, array: np.ndarray) -> np.ndarray:
        return np.asarray(array).astype(self.precision)

    # Layers. Parameters are as in the code: kernels are [h, w, in, out] or [in, out].

    def convolution(
        self, x: str, layer: dict[str, np.ndarray], size: tuple[int, int], stride: int = 1
    ) -> str:
        """A convolution with SAME padding.

        Args:
          x: the input, ``[B, I, H, W]``.
          layer: ``kernel`` ``[h, w, I, O]``, and ``bias`` ``[O]``.
          size: height and width of the input.
          stride: of the rows and columns.
        """
        kernel = self._rounded(layer["kernel"].transpose(3, 2, 0, 1))
        sides = zip(size, kernel.shape[2:], strict=True)
        paddings = [same_padding(side, taps, stride) for side, taps in sides]
        pads = [before for before, _ in paddings] + [after for _, after in paddings]
        bias = self._rounded(layer["bias"])
        return self.node("Conv", x, kernel, bias, pads=pads, strides=[stride, stride])

    def dense(self, x_BF: str, layer: dict[str, np.ndarray]) -> str:
        """A dense layer in float32."""
        y = self.node("MatMul", x_BF, self.weights(layer["kernel"]))
        return self.node("Add", y, self.weights(layer["bias"])) if "bias" in layer else y

    def layer_norm(self, x: str, layer: dict[str, np.ndarray]) -> str:
        """Normalises the features of each pixel."""
        scale, bias = (self._rounded(layer[name]) for name in ("scale", "bias"))
        last = self.node("Transpose", x, perm=[0, 2, 3, 1])
        y = self.node("LayerNormalization", last, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)
        return self.node("Transpose", y, perm=[0, 3, 1, 2])

    def gelu(self, x: str) -> str:
        """``flax.linen.gelu``: x/2 (1 + tanh(sqrt(2 / pi) x (1 + 0.044715 x^2))).

        ONNX Runtime recognises these nodes and computes them in one pass.
        """
        square = self.node("Mul", self.node("Mul", x, self.number(0.044715)), x)
        scaled = self.node("Mul", x, self.number(np.sqrt(2 / np.pi)))
        inner = self.node("Mul", self.node("Add", square, self.number(1)), scaled)
        tanh = self.node("Add", self.node("Tanh", inner), self.number(1))
        return self.node("Mul", tanh, self.node("Mul", x, self.number(0.5)))

    def pixel_shuffle(self, x: str) -> str:
        """Doubles height and width; features are in the order of ``residual.pixel_shuffle``."""
        return self.node("DepthToSpace", x, blocksize=2, mode="DCR")

    def crop(self, x: str, size: tuple[int, int]) -> str:
        """The first rows and columns."""
        return self.node("Slice", x, np.zeros(2, np.int64), np.int64(size), np.int64([2, 3]))

    def resize(self, x: str, rows: np.ndarray, columns: np.ndarray) -> str:
        """A linear map of the rows ``[H, height]``, and one of the columns ``[W, width]``."""
        x = self.node("MatMul", self.constant(np.float32(rows.T)), x)
        return self.node("MatMul", x, self.constant(np.float32(columns)))

    def reshape(self, x: str, *sides: int) -> str:
        """Gives each item of the batch another shape."""
        return self.node("Reshape", x, np.int64([-1, *sides]))

    def from_frames(self, frames: str) -> str:
        """``autoencoder.from_frames``, from NHWC to NCHW."""
        x = self.node("Div", self.cast(frames, "float32"), np.float32(127.5))
        return self.node("Transpose", self.node("Sub", x, np.float32(1)), perm=[0, 3, 1, 2])

    def to_frames(self, x: str) -> str:
        """``autoencoder.to_frames``, from NCHW to NHWC."""
        x = self.node("Mul", self.node("Add", x, np.float32(1)), np.float32(127.5))
        x = self.node("Clip", self.node("Round", x), np.float32(0), np.float32(255))
        return self.node("Transpose", self.cast(x, "uint8"), perm=[0, 2, 3, 1])

    def model(self, name: str, inputs: dict, outputs: dict, metadata: dict) -> onnx.ModelProto:
        """The finished model.

        Args:
          name: of the graph.
          inputs: type and shape without the batch, by name.
          outputs: tensor, type and shape, by name.
          metadata: texts, by name.
        """
        for output, (tensor, *_) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [tensor], [output], output))
        graph = helper.make_graph(
            self._nodes,
            name,
            [_value(name, *value) for name, value in inputs.items()],
            [_value(name, *value) for name, (_, *value) in outputs.items()],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="vae_gan_jax"
        )
        helper.set_model_props(model, metadata)
        return model


def _value(name: str, type_name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TYPES[type_name], ["N", *shape])


def same_padding(side: int, taps: int, stride: int) -> tuple[int, int]:
    """Rows or columns of SAME padding before the first and after the last."""
    outputs = output_side(side) if stride == 2 else side
    total = max(stride * (outputs - 1) + taps - side, 0)
    return total // 2, total - total // 2
