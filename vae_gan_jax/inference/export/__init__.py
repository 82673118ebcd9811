"""A trained run as files that other programs read: ONNX, StableHLO, safetensors."""
