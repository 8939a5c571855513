"""Records of runs, their ranking with statistics, and the page that shows it.

Records come in (`records`, `foreign`), are pooled into rows and sorted into sets of like with like
(`comparable`), tested and ranked (`analysis`, `ranking`), and go out to a terminal (`table`), an offline page
(`page`, with pictures from `overlays`) and files for other programs (`export`).
"""

from autoseg.leaderboard.foreign import Addition, RawData, add_records, records_from_csv
from autoseg.leaderboard.page import write_page
from autoseg.leaderboard.ranking import Leaderboard, rank
from autoseg.leaderboard.records import Cost, Record, load_records, write_record
from autoseg.leaderboard.scores import ScoreTable
from autoseg.leaderboard.table import terminal_table

__all__ = [
    "Addition",
    "Cost",
    "Leaderboard",
    "RawData",
    "Record",
    "ScoreTable",
    "add_records",
    "load_records",
    "rank",
    "records_from_csv",
    "terminal_table",
    "write_page",
    "write_record",
]
