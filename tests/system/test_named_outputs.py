"""Files that a user names: replaced where they are this program's, refused where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoseg.errors import UsageError
from autoseg.system import named_outputs as tested
from autoseg.system.named_outputs import named_output, named_outputs, refuse_foreign


def write(path: Path, text: str) -> None:
    with named_output(path) as made:
        made.write_text(text)


def test_an_own_file_is_replaced_and_one_that_was_edited_since_is_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.csv"
    for text in ("first", "second", "second", "third"):
        write(path, text)
        assert path.read_text() == text
    path.write_text("third, with a remark")
    with pytest.raises(UsageError, match=r"rows\.csv is there already.*changed since"):
        write(path, "fourth")
    assert path.read_text() == "third, with a remark"
    assert sorted(each.name for each in path.parent.iterdir()) == [".autoseg_written", "rows.csv"]


def test_a_users_file_is_refused_and_an_empty_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.touch()
    write(path, "ours")
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(UsageError, match="Remove it, or give another name"):
        write(tmp_path / "mine.csv", "ours")
    # What was moved has lost its note.
    (tmp_path / "mine.csv").rename(path)
    with pytest.raises(UsageError, match="changed since"):
        write(path, "ours")
    assert path.read_text() == "mine"


def test_a_link_stays_one_and_what_it_points_to_is_guarded(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link, target = tmp_path / "rows.csv", tmp_path / "far" / "real.csv"
    link.symlink_to(target)
    for text in ("first", "second"):
        write(link, text)
        assert link.is_symlink() and target.read_text() == text
    target.write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        write(link, "third")
    assert target.read_text() == "mine"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("pipe", "a pipe or a device"), (".", "is a folder")):
        with pytest.raises(UsageError, match=said):
            refuse_foreign([tmp_path / name])


def test_one_name_for_two_outputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").symlink_to(tmp_path / "rows.csv")
    with pytest.raises(UsageError, match="two outputs"):
        refuse_foreign([tmp_path / "rows.csv", tmp_path / "other.csv"])


def test_none_of_several_is_written_where_one_is_foreign(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "summary.json").write_text("mine")
    with pytest.raises(UsageError, match=r"b/summary\.json"), named_outputs(folder) as made:
        for name in "ab":
            (made / name).mkdir()
            (made / name / "summary.json").write_text(f"ours {name}")
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "b" / "summary.json"]
    assert (folder / "b" / "summary.json").read_text() == "mine"


def test_nothing_is_left_where_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), named_outputs(tmp_path / "out"):
        raise RuntimeError
    with pytest.raises(RuntimeError), named_output(tmp_path / "rows.csv"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("killed_at", ["before the file has its name", "before the note has its own"])
def test_a_command_that_was_killed_can_be_run_again(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    write(path, "first")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    for text in ("second", "third"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            if killed_at.startswith("before the file"):
                patch.setattr(tested.os, "replace", _all_but(path, kill))
            else:
                patch.setattr(tested, "write_json", kill)
            write(path, text)
        assert path.read_text() == "first"
    write(path, "fourth")
    assert path.read_text() == "fourth"


def _all_but(path: Path, kill: object) -> object:
    replace = os.replace
    return lambda source, target: kill() if Path(target) == path else replace(source, target)
