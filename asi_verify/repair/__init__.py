"""Repair: training, correctors and the loop that goes on until nothing is open."""

from asi_verify.repair.ceilings import tried_at_ceilings
from asi_verify.repair.certified_training import CertifiedTraining
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task
from asi_verify.repair.examine import Examination, Subject, examine
from asi_verify.repair.loop import Loop, round_folder
from asi_verify.repair.ordinary_training import OrdinaryTraining

__all__ = [
    "CertifiedTraining",
    "Checkpoints",
    "Correction",
    "Corrector",
    "Examination",
    "Loop",
    "OrdinaryTraining",
    "Subject",
    "Task",
    "examine",
    "round_folder",
    "tried_at_ceilings",
]
