"""What every layout is: it recognises a folder, and describes what its files become in the raw layout.

A layout is one file with one class derived from `Layout`: in ``autoseg/intake/layouts``, in an installed
package under the entry point group ``autoseg.layouts``, or anywhere, given by its path. It only looks and
describes; checking, converting and writing are the same for all (`autoseg.intake.conversion`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from autoseg import plugins
from autoseg.errors import DataError, UsageError
from autoseg.intake.incoming import Incoming, Request, some
from autoseg.intake.unread_formats import unread_images


class Layout(ABC):
    """Base of all layouts. The first line of a subclass's docstring tells users what it is.

    Attributes:
        looks_like: what a folder of it holds, in a few words, for whoever has one that is not recognised.
        order: in which layouts are tried, lowest first: what a file of a certain name gives away comes
            before what the names of folders only suggest.
        options: the layout's own options, by name, each with its meaning: ``autoseg import --option
            NAME=VALUE``.
    """

    looks_like: ClassVar[str] = ""
    order: ClassVar[int] = 50
    options: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not (cls.__doc__ or "").strip():
            raise UsageError(
                f"The layout {cls.__name__} has no docstring. Write one: its first line is what "
                f"`autoseg list layouts` tells users."
            )
        if not cls.looks_like:
            raise UsageError(
                f"The layout {cls.__name__} does not say what it looks like. Set looks_like to a few words, "
                f"such as 'images/ and masks/ with the same names'."
            )

    @classmethod
    def about(cls) -> str:
        """The first line of the docstring, without the full stop."""
        return (cls.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @abstractmethod
    def recognise(self, source: Path) -> str:
        """By what a folder shows that it has this layout, in a sentence; empty if it does not.

        Args:
            source: an existing folder, which is never written to.
        """

    @abstractmethod
    def read(self, source: Path, request: Request) -> Incoming:
        """Describe a folder as it will be written.

        Args:
            source: an existing folder, which is never written to.
            request: what else a user asks for; of this layout's own options, `request.own`.

        Raises:
            DataError: naming the file that cannot be taken as it is, and what to do.
        """


def layout_named(name: str, request: Request | None = None) -> Layout:
    """A layout by its name or its file.

    Args:
        name: a name of ``autoseg list layouts``, or the path of a Python file.
        request: whose own options have to be the layout's.

    Raises:
        UsageError: if there is no such layout, or it has no such option.
    """
    found: Layout = plugins.find_class("layouts", name)()
    if unknown := sorted(set(request.own if request else ()) - set(found.options)):
        has = ", ".join(f"{key} ({meaning})" for key, meaning in found.options.items())
        raise UsageError(f"The layout {name} has no option {unknown[0]!r}. Its options: {has or 'none'}.")
    return found


def recognise(source: Path) -> tuple[str, str]:
    """The layout of a folder, of all that are built in or installed, and what it was recognised by.

    Raises:
        DataError: if it is none that is known; the message says what each looks like.
    """
    found = {name: layout_named(name) for name in plugins.available("layouts")}
    layouts = dict(sorted(found.items(), key=lambda each: each[1].order))
    for name, layout in layouts.items():
        if why := layout.recognise(source):
            return name, why
    there = [path.name for path in sorted(source.iterdir())]
    if unread := unread_images(source):
        raise DataError(f"{source} has no images that are read (in it: {some(there, 6)}). {unread}")
    known = " ".join(f"{name}: {each.looks_like}." for name, each in layouts.items())
    raise DataError(
        f"{source} has no layout that is known (in it: {some(there, 6) or 'nothing'}). {known} For another "
        f"layout, write one: autoseg import {source} --from FILE.py."
    )
