"""VNN-LIB 1: the reader, what a file asks, and the writer."""

from asi_verify.lowering.vnnlib.reader import read_vnnlib
from asi_verify.lowering.vnnlib.specification import Specification
from asi_verify.lowering.vnnlib.writer import as_clauses, write_vnnlib

__all__ = ["Specification", "as_clauses", "read_vnnlib", "write_vnnlib"]
