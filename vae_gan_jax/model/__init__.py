"""Networks and objectives: pure functions of (variables, arrays)."""

import importlib.metadata
import os

# On a CPU, Eigen's convolutions take less time than those of YNNPACK, which jaxlib 0.10 and 0.11
# prefer (benchmarks/RESULTS.md). Read when the first function is compiled; a later jaxlib that does
# not know the flag would not start, and who sets the flag decides.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_VERSION = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
if (0, 10) <= _VERSION < (0, 12) and _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=".strip()
