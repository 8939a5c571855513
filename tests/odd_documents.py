"""Strategies of hypothesis for documents from outside: a sound one with some places changed."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import strategies as st

# How many documents of each kind: few in every run of the tests, as many as wanted when fuzzing.
EXAMPLES = int(os.environ.get("AUTOSEG_FUZZ", "60"))

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**63, -(2**64), 10**30, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=6),
    st.sampled_from(
        ["", "0", "-1", "1.5", "../x", "/etc/x", "a\0b", "a\nb", "\ud800", "=1+1", "x" * 400, "nan"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A document in which up to three entries are replaced, removed, or set beside others."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        options = [place for place in places(found) if place]
        if not options:
            return draw(VALUES)
        place = draw(st.sampled_from(options))
        holder = found
        for key in place[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "remove":
            del holder[place[-1]]
        elif how == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = draw(VALUES)
        else:
            holder[place[-1]] = draw(VALUES)
    return found
