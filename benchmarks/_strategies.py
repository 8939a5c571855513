"""The table of bench_strategies beside the published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _machine import RESULTS, write_results

from autoseg.leaderboard.ranking.ranking import Leaderboard, rank
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.records.files import Record

SOURCES = {
    "fetal": "the training images of the fold, without labels",
    "tissue": "36 images of stained tissue, without labels",
    "imagenet": "ImageNet",
}
# HC18, 799 training images, 20 epochs, lr 1e-4, 512 x 512: Dice in %, mean over batches of 10 of 200 images.
PUBLISHED = {
    "a": 86.68,
    "b": 85.67,
    "c": 96.22,
    "d": 82.46,
    "e": 93.27,
    "f": 95.34,
    "g": 81.46,
    "h": 37.04,
    "i": 96.28,
}
PUBLISHED_UNET = 95.56
TRAINS = {
    "all": "everything",
    "a": "D1-5 and head",
    "b": "encoder",
    "c": "encoder",
    "d": "D1",
    "e": "D1-2",
    "f": "D1-3",
    "g": "D3-5",
    "h": "D5",
    "i": "D1-5 and head",
}
DISCUSSION, END = "## Discussion", "\n| run | |"


@dataclass(frozen=True)
class RowSpec:
    """One row: where the encoder's weights come from, and what is trained."""

    source: str
    strategy: str

    @property
    def name(self) -> str:
        """As ``--rows`` takes it."""
        return f"{self.source}:{self.strategy}"


@dataclass(frozen=True)
class Finished:
    """A row of one seed: its record, and the same with lengths in mm; None where it has no scores."""

    spec: RowSpec
    seed: int
    record: Record
    in_mm: Record | None

    @property
    def words(self) -> str:
        """For the log."""
        if self.in_mm is None:
            return f"{self.record.status}: {self.record.reason}"
        found = {name: self.in_mm.quality[name].value for name in ("dice", "hc_absolute_error")}
        return f"Dice {found['dice']:.4f}, HC {found['hc_absolute_error']:.2f} mm"


@dataclass(frozen=True)
class Line:
    """What the table says of a row, its seeds together."""

    source: str
    strategy: str
    trainable: int | None
    steps: int | None
    train_s: float | None
    dice: float | None
    dice_ci: tuple[float, float] | None
    pooled_dice: float | None
    hc_mm: float | None
    hc_mm_ci: tuple[float, float] | None
    hc_signed_mm: float | None
    against_scratch: dict[str, Any] | None
    status: str
    seeds: int


def report(
    done: Sequence[Finished], pretrained: dict[str, Any], options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The tables in Markdown, and everything in them for JSON."""
    scored = [row.in_mm for row in done if row.in_mm is not None]
    boards = {name: rank(scored, metric=name) for name in ("dice", "hc_absolute_error")} if scored else {}
    lines = [_line(spec, done, boards) for spec in dict.fromkeys(row.spec for row in done)]
    agreement = {source: _agreement(lines, source) for source in SOURCES}
    agreement = {source: found for source, found in agreement.items() if found}
    results = {
        "options": {
            key: value.name if isinstance(value, Path) else value
            for key, value in options.items()
            if key not in ("data", "workspace")
        },
        "pretrained": pretrained,
        "rows": [asdict(line) for line in lines],
        "published": {"dice_percent": PUBLISHED, "unet_dice_percent": PUBLISHED_UNET},
        "rank_correlation": agreement,
        "records": [_about(row) for row in done],
    }
    return "\n".join(_text(lines, results, options)), results


def _about(row: Finished) -> dict[str, Any]:
    record = row.record
    kept = ("trainer", "configuration", "changes", "status", "reason", "code_version", "code_dirty")
    kept += ("device", "created")
    content = {key: getattr(record, key) for key in kept}
    return {"row": row.spec.name, "seed": row.seed, **content, "cost": asdict(record.cost)}


def _line(spec: RowSpec, done: Sequence[Finished], boards: dict[str, Leaderboard]) -> Line:
    mine = [row for row in done if row.spec == spec]
    rows = {name: _row(board, mine) for name, board in boards.items()}
    dice, hc = rows.get("dice"), rows.get("hc_absolute_error")
    costs = [row.record.cost for row in mine]
    return Line(
        spec.source,
        spec.strategy,
        costs[0].trainable_parameters,
        _mean([cost.training_steps for cost in costs]),
        _mean([cost.train_s for cost in costs]),
        dice.means["dice"] if dice else None,
        _ends(dice, "dice"),
        _mean([pooled(row.in_mm) for row in mine if row.in_mm], digits=5),
        hc.means["hc_absolute_error"] if hc else None,
        _ends(hc, "hc_absolute_error"),
        dice.means.get("hc_error") if dice else None,
        _against_scratch(boards["dice"], dice, done) if dice else None,
        ", ".join(dict.fromkeys(row.record.status for row in mine)),
        len(mine),
    )


def _row(board: Leaderboard, mine: Sequence[Finished]) -> Row | None:
    label = mine[0].record.label
    return next((row for row in board.rows if row.trainer == label and row.means), None)


def _ends(row: Row | None, metric: str) -> tuple[float, float] | None:
    interval = row.intervals.get(metric) if row else None
    return (interval.low, interval.high) if interval else None


def _mean(values: Sequence[Any], digits: int = 1) -> Any:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), digits) if known else None


def pooled(record: Record) -> float:
    """Dice of the pixels of all cases together."""
    sums = {c.metric: sum(v or 0.0 for v in c.values) for c in record.scores.columns}
    return 2 * sums["tp"] / (2 * sums["tp"] + sums["fp"] + sums["fn"])


def _against_scratch(board: Leaderboard, row: Row, done: Sequence[Finished]) -> dict[str, Any] | None:
    """The paired difference to the row that trains everything from random weights."""
    base = next((each for each in done if each.spec == RowSpec("random", "all") and each.in_mm), None)
    scratch = _row(board, [base]) if base else None
    if scratch is None or scratch is row:
        return None
    for pair in board.comparisons():
        if {pair["a"], pair["b"]} == {row.name, scratch.name}:
            sign = 1.0 if pair["a"] == row.name else -1.0
            ends = sorted(sign * end for end in pair["ci"])
            return {"difference": sign * pair["difference"], "ci": ends, "p_holm": pair["p_holm"]}
    return None


def _agreement(lines: Sequence[Line], source: str) -> dict[str, Any] | None:
    """Rank correlation over the strategies between the published Dice and ours; a and b start from random."""
    from scipy.stats import kendalltau, spearmanr

    ours = {
        line.strategy: line.dice
        for line in lines
        if line.source == ("random" if line.strategy in ("a", "b") else source) and line.dice is not None
    }
    common = [strategy for strategy in PUBLISHED if strategy in ours]
    if len(common) < 5 or not any(line.source == source for line in lines):
        return None
    pairs = [PUBLISHED[each] for each in common], [ours[each] for each in common]
    rho, tau = spearmanr(*pairs), kendalltau(*pairs)
    return {
        "strategies": "".join(common),
        "spearman": round(float(rho.statistic), 3),
        "spearman_p": round(float(rho.pvalue), 4),
        "kendall": round(float(tau.statistic), 3),
        "kendall_p": round(float(tau.pvalue), 4),
    }


def _text(lines: Sequence[Line], results: dict[str, Any], options: dict[str, Any]) -> list[str]:
    titles = ("", "trains", "encoder from", "trainable", "steps", "Dice", "pooled", "published", "+")
    titles += ("HC error, mm", "signed")
    seeds = "one seed" if len(options["seeds"]) == 1 else f"{len(options['seeds'])} seeds"
    taken = "its encoder, as published" if options["parts"] == "encoder" else "encoder and decoder"
    return [
        "# Nine fine-tuning strategies on fetal heads",
        "",
        "Dataset018_FetalHead, 200 images, folds by exam, fold 0; mobilenetv2_unet,",
        f"{options['seconds']:g} s a row with prediction, rate {options['learning_rate']:g},",
        f"{seeds}. Taken from a source: {taken}. Dice is the mean over the held-out images with its",
        "95 % interval (by exam), `pooled` that of all their pixels together; `+` is the paired difference",
        "in Dice to everything from random weights; the error of the head circumference is the mean of its",
        "absolute value, with its interval, and of its signed value. Published: HC18, 799 training images,",
        "512 x 512, 20 epochs (1,600 steps), ImageNet encoder, Dice pooled over batches of 10; beside",
        "scratch a U-Net of 31 M parameters.",
        "",
        *_pretraining_lines(results["pretrained"]),
        f"| {' | '.join(titles)} |",
        "|---" * len(titles) + "|",
        *map(_table_line, sorted(lines, key=lambda each: (each.strategy != "all", each.strategy))),
        "",
        *_agreement_lines(results["rank_correlation"]),
        "",
        DISCUSSION,
        "",
        "",
    ]


def _pretraining_lines(pretrained: dict[str, Any]) -> list[str]:
    return [
        *(
            f"{source}: pre-trained on {SOURCES[source]}, {about['steps']} steps in "
            f"{about['seconds']:.0f} s, masked loss {about['first_loss']:.3f} -> {about['last_loss']:.3f}.\n"
            for source, about in pretrained.items()
        ),
        *([""] if pretrained else []),
    ]


def _table_line(line: Line) -> str:
    published = PUBLISHED.get(line.strategy)
    if line.strategy == "all" and line.source == "random":
        published = PUBLISHED_UNET
    difference = line.against_scratch
    cells = [
        line.strategy if line.strategy != "all" else "scratch" if line.source == "random" else "all",
        TRAINS[line.strategy],
        line.source,
        "" if line.trainable is None else f"{line.trainable:,}",
        "" if line.steps is None else f"{line.steps:g}",
        line.status if line.dice is None else f"{line.dice:.3f} {_interval(line.dice_ci, 3)}",
        "" if line.pooled_dice is None else f"{line.pooled_dice:.3f}",
        "" if published is None else f"{published / 100:.3f}",
        "" if difference is None else f"{difference['difference']:+.3f} {_interval(difference['ci'], 3)}",
        "" if line.hc_mm is None else f"{line.hc_mm:.1f} {_interval(line.hc_mm_ci, 1)}",
        "" if line.hc_signed_mm is None else f"{line.hc_signed_mm:+.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _interval(ends: Sequence[float] | None, digits: int) -> str:
    return "" if ends is None else f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _agreement_lines(found: dict[str, Any]) -> list[str]:
    return [
        f"Order of {len(each['strategies'])} strategies from {source}, ours against published: Spearman "
        f"{each['spearman']:.2f} (p {each['spearman_p']:.3f}), Kendall {each['kendall']:.2f}."
        for source, each in found.items()
    ]


def write(name: str, where: dict[str, Any], results: Any, text: str) -> None:
    """Write the results; what somebody wrote under Discussion stays."""
    path = RESULTS / f"{name}.md"
    if path.is_file():
        _, found, rest = path.read_text(encoding="utf-8").partition(DISCUSSION)
        kept = rest.partition(END)[0].strip() if found else ""
        text = text.replace(DISCUSSION, f"{DISCUSSION}\n\n{kept}" if kept else DISCUSSION)
    write_results(name, where, results, text)
