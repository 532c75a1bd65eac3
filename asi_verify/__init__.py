"""asi_verify: correct a classifier until every logged mistake is proved unable to come back.

    import asi_verify as asi
    result = asi.certify(model, dataset, radius="1/255")
    fixed = asi.correct(model, dataset, radius="1/255")
    asi.check("out/")
    asi.verify("out/")

Nothing heavy is imported here; torch, onnxruntime and the engines load when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asi_verify.core.on_demand import on_demand

if TYPE_CHECKING:
    from asi_verify._audit_dataset import audit_dataset
    from asi_verify._bubbles import Bubbles, bubbles
    from asi_verify._certify import certify, correct
    from asi_verify._check import check
    from asi_verify._compare import Comparison, compare
    from asi_verify._guard import build_guard
    from asi_verify._plan import Plan, plan
    from asi_verify._query import write_query
    from asi_verify._radius_map import RadiusMap, radius_map
    from asi_verify._result import Result, load
    from asi_verify._run import run
    from asi_verify._search import search
    from asi_verify._validate import validate
    from asi_verify._vnnlib import solve_vnnlib
    from asi_verify.attest import sign, verify
    from asi_verify.audit import Readiness
    from asi_verify.core.balls import L1, L2
    from asi_verify.core.intensity import Intensity
    from asi_verify.core.k_pixel import KPixel
    from asi_verify.core.linf import LInf
    from asi_verify.core.patch import Patch
    from asi_verify.core.radius import Radius
    from asi_verify.core.status import Status
    from asi_verify.data import Preprocess, load_dataset, phantom
    from asi_verify.errors import AsiVerifyError, SoundnessAlarm, UsageError
    from asi_verify.guard import Answer, Cascade, CascadeAnswer, Guard

__all__ = [
    "L1",
    "L2",
    "Answer",
    "AsiVerifyError",
    "Bubbles",
    "Cascade",
    "CascadeAnswer",
    "Comparison",
    "Guard",
    "Intensity",
    "KPixel",
    "LInf",
    "Patch",
    "Plan",
    "Preprocess",
    "Radius",
    "RadiusMap",
    "Readiness",
    "Result",
    "SoundnessAlarm",
    "Status",
    "UsageError",
    "audit_dataset",
    "bubbles",
    "build_guard",
    "certify",
    "check",
    "compare",
    "correct",
    "load",
    "load_dataset",
    "phantom",
    "plan",
    "radius_map",
    "run",
    "search",
    "sign",
    "solve_vnnlib",
    "validate",
    "verify",
    "write_query",
]

_HOME = {
    "Answer": "guard",
    "AsiVerifyError": "errors",
    "Bubbles": "_bubbles",
    "Cascade": "guard",
    "CascadeAnswer": "guard",
    "Comparison": "_compare",
    "L1": "core.balls",
    "L2": "core.balls",
    "Guard": "guard",
    "Intensity": "core.intensity",
    "KPixel": "core.k_pixel",
    "LInf": "core.linf",
    "Patch": "core.patch",
    "Plan": "_plan",
    "Preprocess": "data",
    "Radius": "core.radius",
    "RadiusMap": "_radius_map",
    "Readiness": "audit",
    "Result": "_result",
    "SoundnessAlarm": "errors",
    "Status": "core.status",
    "UsageError": "errors",
    "audit_dataset": "_audit_dataset",
    "bubbles": "_bubbles",
    "build_guard": "_guard",
    "certify": "_certify",
    "check": "_check",
    "compare": "_compare",
    "correct": "_certify",
    "load": "_result",
    "load_dataset": "data",
    "phantom": "data",
    "plan": "_plan",
    "radius_map": "_radius_map",
    "run": "_run",
    "search": "_search",
    "sign": "attest",
    "solve_vnnlib": "_vnnlib",
    "validate": "_validate",
    "verify": "attest",
    "write_query": "_query",
}

__getattr__, __dir__ = on_demand(__name__, _HOME)
