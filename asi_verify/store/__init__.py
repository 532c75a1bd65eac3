"""What a run keeps: the run folder, the bug log, certificates, events."""

from asi_verify.store.bug_log import BugLog, MemoryBugLog
from asi_verify.store.certificates import write_certificates
from asi_verify.store.events import EVENTS_FILE, Chain, EventLog, read_chain
from asi_verify.store.files import Files, FolderFiles, MemoryFiles
from asi_verify.store.run_folder import RUN_FILE, RunFolder
from asi_verify.store.sqlite_bug_log import SqliteBugLog

__all__ = [
    "EVENTS_FILE",
    "RUN_FILE",
    "BugLog",
    "Chain",
    "EventLog",
    "Files",
    "FolderFiles",
    "MemoryBugLog",
    "MemoryFiles",
    "RunFolder",
    "SqliteBugLog",
    "read_chain",
    "write_certificates",
]
