"""The page of an explanation."""

from __future__ import annotations

import html
import os
from typing import Any

from fovea._paths import path as _path

HEIGHT = 600  # pixels of a notebook's cell; the page scrolls inside


class Explanation:
    """One offline page: prediction, attention maps, relevance of each word. Made by :meth:`Model.explain`.

    Notebooks show it in a frame of its own, so that several stand side by side, in exported notebooks too. It can be
    copied and pickled, and is then as it is now.
    """

    def __init__(self, inner: Any):
        self._inner = inner

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page as one HTML file, under a temporary name first, so that a failure leaves what was there.

        Parameters
        ----------
        path : path
            Where to; a file there is replaced.

        Raises
        ------
        fovea.DataError
            The place cannot be written to.
        """
        self._inner.save(_path("path", path, "Explanation.save"))

    def html(self) -> str:
        """The page as text: one HTML document that loads nothing."""
        return self._inner.html()

    def _repr_html_(self) -> str:
        # A frame has styles, ids and scripts of its own; scripts run there, and reach nothing of the notebook.
        page = html.escape(self.html(), quote=True)
        return (
            f'<iframe sandbox="allow-scripts allow-downloads allow-popups" srcdoc="{page}" loading="lazy" '
            f'title="Fovea: explanation" style="width: 100%; height: {HEIGHT}px; border: 0; resize: vertical"></iframe>'
        )

    def __reduce__(self) -> Any:
        return _of_page, (self.html(),)


class _Page:
    """A page that is made."""

    def __init__(self, text: str):
        self._text = text

    def html(self) -> str:
        return self._text

    def save(self, path: Any) -> None:
        from fovea import DataError

        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            beside.write_text(self._text, encoding="utf-8", newline="")
            os.replace(beside, path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise DataError(f"{path}: expected a place to write to, found {error.strerror}") from error


def _of_page(text: str) -> Explanation:
    return Explanation(_Page(text))
