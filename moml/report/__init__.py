"""Pages and tables about finished and unfinished runs."""

from moml.report.comparison import Comparison
from moml.report.comparison_page import write_comparison
from moml.report.report import write_report, write_reports
from moml.report.summary import summary_table

__all__ = ["Comparison", "summary_table", "write_comparison", "write_report", "write_reports"]
