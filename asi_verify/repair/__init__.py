"""Repair: training, correctors and the loop that goes on until nothing is open."""

from asi_verify.repair.candidates import (
    Candidate,
    read_candidates,
    read_settings,
    usual_candidates,
)
from asi_verify.repair.ceilings import tried_at_ceilings
from asi_verify.repair.certified_training import CertifiedTraining
from asi_verify.repair.changes import change_file, change_schema, write_changes
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task
from asi_verify.repair.examine import Examination, Subject, examine
from asi_verify.repair.halving import halved, halving_stages
from asi_verify.repair.last_layer import LastLayer
from asi_verify.repair.local_patch import LocalPatch
from asi_verify.repair.loop import Loop, round_folder
from asi_verify.repair.ordinary_model import ordinary_model
from asi_verify.repair.ordinary_training import OrdinaryTraining
from asi_verify.repair.out_of_fold import ARCHITECTURE, out_of_fold
from asi_verify.repair.trials import Trials
from asi_verify.repair.untrained import untrained_network

__all__ = [
    "ARCHITECTURE",
    "Candidate",
    "CertifiedTraining",
    "Checkpoints",
    "Correction",
    "Corrector",
    "Examination",
    "LastLayer",
    "LocalPatch",
    "Loop",
    "OrdinaryTraining",
    "Subject",
    "Task",
    "Trials",
    "change_file",
    "change_schema",
    "examine",
    "halved",
    "halving_stages",
    "ordinary_model",
    "out_of_fold",
    "read_candidates",
    "read_settings",
    "round_folder",
    "tried_at_ceilings",
    "untrained_network",
    "usual_candidates",
    "write_changes",
]
