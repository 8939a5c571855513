"""What `autoseg list machine` shows: how fast this machine is, and what it learned of its predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoseg.system.machine_model import LAYERS, MachineModel

if TYPE_CHECKING:
    from rich.table import Table

LAYER_WORDS = {
    "3d": "3D convolution",
    "2d": "2D convolution",
    "depthwise": "3D depthwise",
    "1x1": "1x1 convolution",
}


def found_machine(device: str = "auto") -> tuple[MachineModel, float]:
    """The model of a device and the share of it that there is now; measured where it is not known yet."""
    from autoseg.tailoring.machine.kept import machine_named, share_now

    model = machine_named(device)
    return model, share_now(model)


def document(model: MachineModel, share: float) -> dict[str, Any]:
    """As JSON; the entry ``machine`` is what a file for AUTOSEG_MACHINE holds."""
    from autoseg.tailoring.machine.kept import given_file, machine_file

    return {
        "machine": model.to_json(),
        "share_now": round(share, 3),
        "file": str(given_file() or machine_file()),
    }


def text(model: MachineModel, share: float) -> list[str]:
    """Lines above and below the table of speeds."""
    threads = f", {model.threads} thread{'s' * (model.threads != 1)}" if model.device == "cpu" else ""
    lines = [
        f"{model.name} ({model.device}{threads}), torch {model.torch}",
        f"Trainings compute in {model.precision}, {model.layout.replace('_', ' ')} in memory.",
    ]
    if model.device == "cpu":
        lines += [f"Of it, {share:.0%} is there now; other programs have the rest."]
        if model.threads > 1:
            lines += [f"Its {model.threads} threads are {model.gain:.2g} times as fast as one, shown here:"]
    lines.insert(
        2,
        f"Memory: {model.bytes_per_second / 1e9:.1f} GB/s. Beside its convolutions a step takes "
        f"{model.seconds_per_weight * 1e9:.2g} ms for a million weights and "
        f"{model.seconds_per_layer * 1e3:.2g} ms for each layer.",
    )
    for kind, ratios in sorted(model.ratios.items()):
        count = f"{len(ratios)} training{'s' * (len(ratios) != 1)}"
        lines.append(f"{kind}: a step took {model.correction(kind):.2f} of what was predicted ({count}).")
    return lines


def table(model: MachineModel) -> Table:
    """Billions of multiply-accumulates a second, by kind of layer."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("GMAC/s")
    ways = [(precision, layout) for precision, each in model.training.items() for layout in each]
    for precision, layout in ways:
        shown.add_column(f"{precision}\n{layout.replace('_', ' ')}", justify="right")
    shown.add_column("prediction", justify="right")
    for layer in LAYERS:
        cells = [f"{model.training[precision][layout][layer] / 1e9:.3g}" for precision, layout in ways]
        shown.add_row(LAYER_WORDS[layer], *cells, f"{model.forward[layer] / 1e9:.3g}")
    return shown
