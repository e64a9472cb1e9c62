"""Fovea works in the main interpreter of a process. In another one its calls would wait for ever: they take the GIL back
in the way that knows the main interpreter alone. NumPy, too, is loaded once in a process."""

import importlib


def is_main() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # from Python 3.13 on, and before
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True  # this Python has no others


if not is_main():
    raise ImportError(
        "fovea expects the main interpreter of a process, got a subinterpreter: start a process instead (multiprocessing), "
        "or give a web server's application the main interpreter"
    )
