"""Report definitions: SQL files with front matter, read and checked. No database here."""

from .catalogue import load_reports as load_reports
from .definition import Report as Report
from .definition import ReportError as ReportError
from .definition import parse_report as parse_report
