"""Versions and machine, for certificates, reports and ``asi-verify doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

__all__ = ["PACKAGES", "machine", "versions"]

PACKAGES = ("torch", "onnx", "onnxruntime", "numpy", "z3-solver", "auto_LiRPA")
"""The packages whose versions shape results."""


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of this library, Python and the packages that shape results; "none" if missing."""
    found = {package: version_of(package) or "none" for package in PACKAGES}
    ours = version_of("asi-verify") or "unknown"
    return {"asi_verify": ours, "python": platform.python_version(), **found}


def machine() -> dict[str, str | int]:
    """Processor, cores and system; no host name."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
