"""ONNX Runtime: what the deployed artifact answers, and the replay of witnesses."""

from asi_verify.runtime.session import Session

__all__ = ["Session"]
