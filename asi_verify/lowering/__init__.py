"""Between ONNX bytes and ``Network``: the reader, the canonical writer, the operator registry."""

from asi_verify.lowering.reader import read_network
from asi_verify.lowering.writer import INPUT_NAME, OUTPUT_NAME, GraphWriter, write_artifact

__all__ = ["INPUT_NAME", "OUTPUT_NAME", "GraphWriter", "read_network", "write_artifact"]
