"""Plans that ship with autoseg: planner presets, reference plans, benchmark suites."""
