"""A model's folder as bytes, so that a model travels in a pickle."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from fovea._kinds import fail

Stamp = dict[str, tuple[int, int]]


def stamp(folder: Path) -> Stamp:
    """Size and time of change of each file of a model; what training keeps for itself is no part of it: folders of its
    own, and the state from which more epochs follow."""
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".") and file.name != "state.safetensors"
    ]
    return {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def packed(folder: Path, loaded: Stamp) -> dict[str, bytes]:
    """The files by name. The model in memory is what was loaded: other files would be another model."""
    try:
        found = stamp(folder)
        changed = [name for name in loaded if found.get(name) != loaded[name]]
        if not changed:
            return {name: (folder / name).read_bytes() for name in loaded}
        what = f"{', '.join(changed)} changed since"
    except OSError as error:
        what = str(error)
    fail(f"expected the folder {folder} as it was when the model was loaded, found {what}: load it again", "Model")


def unpacked(files: dict[str, bytes], owner: Any) -> Path:
    """The files in a folder of their own, which goes with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="fovea-model-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
