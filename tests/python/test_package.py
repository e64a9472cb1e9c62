"""What the package needs, and what it brings."""

import importlib
import pydoc
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fovea


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_numpy_alone_is_enough():
    done = python(
        "import sys\n"
        "for name in ('torch', 'jax', 'matplotlib', 'ml_dtypes'): sys.modules[name] = None\n"
        "import numpy as np, fovea\n"
        "q = np.ones((1, 2, 3, 4), np.float32)\n"
        "out, seen = fovea.attention(q, q, q, observe=['max'])\n"
        "print(out.sum(), seen.rows([0]).shape)\n"
        "try: seen.plot()\n"
        "except ImportError as error: print(error)\n"
        "try: fovea.jax\n"
        "except ImportError as error: print(error)\n"
    )
    assert done.stdout.splitlines() == [
        "24.0 (1, 2, 1, 3)",
        "Insight.plot draws with matplotlib: pip install matplotlib",
        "fovea.jax needs JAX: pip install jax",
    ]


def test_importing_it_imports_no_framework():
    done = python("import sys, fovea; print(sorted({'torch', 'jax', 'matplotlib'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_it_is_installed_typed_and_of_the_engines_version():
    folder = Path(fovea.__file__).parent
    assert (folder / "py.typed").exists() and "class AttentionCall_float32" in (folder / "_fovea.pyi").read_text()
    assert metadata.version("fovea") == fovea.__version__ == fovea._fovea.version()
    assert all(getattr(fovea, name) for name in fovea.__all__)


def test_it_brings_its_licence_and_says_what_it_needs():
    files = {Path(str(file)).name for file in metadata.files("fovea")}
    assert {"LICENSE", "py.typed", "_fovea.pyi", "METADATA"} <= files
    about = metadata.metadata("fovea")
    assert about["License"] == "Apache-2.0" and about["Requires-Python"] == ">=3.9"
    needs = [need for need in metadata.requires("fovea") if "extra" not in need]
    assert needs == ["numpy>=1.24"]


def test_names_are_fovea_s_own_and_no_others():
    """What completion offers: what can be used, the modules that are imported on demand, and nothing of others'."""
    assert [name for name in dir(fovea) if not name.startswith("__")] == sorted([*fovea.__all__, "jax", "torch"])
    for name in ("torch", "jax"):
        pytest.importorskip(name)
        module = importlib.import_module(f"fovea.{name}")
        assert [x for x in dir(module) if not x.startswith("__")] == module.__all__
        assert all(getattr(module, x).__module__.startswith("fovea.") for x in module.__all__)
        assert getattr(fovea, name) is module
    with pytest.raises(AttributeError, match="module 'fovea' has no attribute 'numpy'"):
        fovea.numpy
    shown = pydoc.render_doc(fovea, renderer=pydoc.plaintext)
    assert "attention(" in shown and "import_module" not in shown
