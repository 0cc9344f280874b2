"""Results in words: the verdict of a run, and a report that stands alone."""

from landscape.report.training_report import ReportFormatError, render_html, report_document, write_report
from landscape.report.verdict import Verdict, describe_run

__all__ = ["ReportFormatError", "Verdict", "describe_run", "render_html", "report_document", "write_report"]
