"""Write plans/presets/trainers.json: what the planner knows of each trainer's network without building it.

    python benchmarks/trainer_facts.py            # write the table
    python benchmarks/trainer_facts.py --check    # compare only; exit 1 where it differs

Run it after a change of a network. A trainer that is not in the table is measured where it is needed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.system.files import write_json
from autoseg.tailoring.network_facts import numbers_of

TABLE = Path(__file__).resolve().parents[1] / "plans" / "presets" / "trainers.json"


def table() -> dict[str, Any]:
    """All trainers of autoseg, by name."""
    return {"trainers": {name: numbers_of(name) for name in plugins.built_in("trainers")}}


def main() -> None:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    found = table()
    if not parser.parse_args().check:
        write_json(TABLE, found)
    elif found != json.loads(TABLE.read_text(encoding="utf-8")):
        raise SystemExit(f"{TABLE.name} is not what the networks are. Write it again, without --check.")


if __name__ == "__main__":
    main()
