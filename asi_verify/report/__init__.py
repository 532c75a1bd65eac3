"""Reports: a pure view of a run folder, as JSON with a published schema and as one HTML page."""

from asi_verify.report.build import build_report, report_schema
from asi_verify.report.write import HTML_FILE, JSON_FILE, rewrite_report, write_report

__all__ = [
    "HTML_FILE",
    "JSON_FILE",
    "build_report",
    "report_schema",
    "rewrite_report",
    "write_report",
]
