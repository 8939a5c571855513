"""The journal of jobs, and the folder into which images are dropped."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from autoseg.serving.drop_folder import DropFolder, free_path
from autoseg.serving.jobs import DONE, FAILED, MOST_ATTEMPTS, RUNNING, WAITING, Job, Journal, mark_of


def a_job(journal: Journal, path: Path, **changes: object) -> Job:
    job = Job(journal.new_identifier(), "model", path.stem, (str(path),), (mark_of(path),))
    return journal.put(replace(job, **changes))  # type: ignore[arg-type]


def test_a_job_that_was_running_waits_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first, second = a_job(journal, tmp_path / "a", state=RUNNING, attempts=1), a_job(journal, tmp_path / "b")
    again = Journal(tmp_path)
    assert [(job.identifier, job.state) for job in again.waiting()] == [
        (first.identifier, WAITING),
        (second.identifier, WAITING),
    ]
    assert again.new_identifier() > second.identifier


def test_a_job_at_which_the_server_ended_thrice_is_given_up(tmp_path: Path) -> None:
    job = a_job(Journal(tmp_path), tmp_path / "a", state=RUNNING, attempts=MOST_ATTEMPTS)
    found = Journal(tmp_path).get(job.identifier)
    assert found is not None
    assert found.state == FAILED
    assert "ended 3 times" in found.reason
    kept = Journal(tmp_path).get(job.identifier)
    assert kept is not None
    assert kept.state == FAILED


def test_an_entry_that_cannot_be_read_is_named_and_left(tmp_path: Path) -> None:
    job = a_job(Journal(tmp_path), tmp_path / "a")
    broken = tmp_path / "00000009-0123abcd.json"
    broken.write_text("{")
    journal = Journal(tmp_path)
    assert [each.identifier for each in journal.jobs()] == [job.identifier]
    assert list(journal.broken) == [broken]
    assert broken.read_text() == "{"


def test_a_case_is_taken_once_it_has_all_channels_and_rests(tmp_path: Path) -> None:
    drop = DropFolder(tmp_path, ".nii.gz", 2, settle_s=0)
    drop.prepare()
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", ".c_0000.nii.gz", "d.zip.part"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "series").mkdir()
    found = {each.name: [path.name for path in each.paths] for each in drop.ready(set())}
    assert found == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"], "series": ["series"]}
    claimed = {(path, mark_of(path)) for each in drop.ready(set()) for path in each.paths}
    assert drop.ready(claimed) == []
    assert drop.is_empty(claimed)  # one channel alone may never get whole


def test_what_changes_is_left_alone(tmp_path: Path) -> None:
    drop = DropFolder(tmp_path, ".png", 1, settle_s=1e-9)
    path = tmp_path / "a_0000.png"
    path.write_bytes(b"half")
    assert drop.ready(set()) == []
    path.write_bytes(b"more than half")
    assert drop.ready(set()) == []
    assert [each.name for each in drop.ready(set())] == ["a"]
    folder = tmp_path / "series"
    folder.mkdir()
    drop.ready(set())
    (folder / "slice").write_bytes(b"x")
    assert [each.name for each in drop.ready(set())] == ["a"]
    assert [each.name for each in drop.ready(set())] == ["a", "series"]


def test_inputs_are_put_away_and_none_is_overwritten(tmp_path: Path) -> None:
    drop, journal = DropFolder(tmp_path / "in", ".png", 1), Journal(tmp_path / "jobs")
    drop.prepare()
    for number in range(2):
        path = tmp_path / "in" / "a.png"
        path.write_bytes(bytes([number]))
        drop.put_away(a_job(journal, path, state=DONE))
    path.write_bytes(b"bad")
    job = a_job(journal, path, state=FAILED, reason="It is no picture.")
    drop.put_away(job)
    assert sorted(p.name for p in (tmp_path / "in" / "done").iterdir()) == ["a.png", "a_2.png"]
    aside = tmp_path / "in" / "set_aside"
    assert (aside / "a.png.reason.txt").read_text() == "It is no picture.\n"
    path.write_bytes(b"a new one of that name")
    os.utime(path, ns=(1, 1))
    drop.put_away(job)
    assert path.read_bytes() == b"a new one of that name"


@pytest.mark.parametrize(("there", "free"), [((), "a.nii.gz"), (("a.nii.gz", "a_2.nii.gz"), "a_3.nii.gz")])
def test_a_free_path(there: tuple[str, ...], free: str, tmp_path: Path) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert free_path(tmp_path / "a.nii.gz").name == free
