"""The closed-world stress test: what a run claims, tried by code that proved none of it."""

from asi_verify.stress.attacks import Attack, attack_library_version, default_attacks
from asi_verify.stress.battery import Battery, Validation, validation_schema
from asi_verify.stress.claimed import Alarm, Claimed, Trial
from asi_verify.stress.corruptions import CORRUPTIONS, SEVERITIES, corrupted

__all__ = [
    "CORRUPTIONS",
    "SEVERITIES",
    "Alarm",
    "Attack",
    "Battery",
    "Claimed",
    "Trial",
    "Validation",
    "attack_library_version",
    "corrupted",
    "default_attacks",
    "validation_schema",
]
