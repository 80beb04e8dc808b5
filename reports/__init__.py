"""Report definitions: SQL files with front matter, read and checked. Nothing here connects to a database."""

from reports.catalogue import load_reports as load_reports
from reports.definition import Report as Report, ReportError as ReportError, parse_report as parse_report
