"""Runs that predict nothing but background: a row that says so, beside rows that were only bad."""

from __future__ import annotations

import dataclasses

from autoseg.leaderboard.records.record import Record
from autoseg.leaderboard.records.scores import EMPTY, MISSED


def marked(record: Record) -> Record:
    """A record that says so if its run predicts nothing but background."""
    cases = collapsed(record)
    if not cases or record.status == "foreign":
        return record
    reason = f"it predicts only background, in all {cases} cases"
    reasons = "; ".join(filter(None, (record.reason, reason)))
    return dataclasses.replace(record, status="collapsed", reason=reasons)


def collapsed(record: Record) -> int:
    """Number of cases if none has a predicted structure and some should have, else 0."""
    columns = [column for column in record.scores.columns if column.metric == "dice"]
    count = len(record.scores.cases)
    statuses = {column.statuses.get(i, "ok") for column in columns for i in range(count)}
    return count if MISSED in statuses and statuses <= {MISSED, EMPTY} else 0
