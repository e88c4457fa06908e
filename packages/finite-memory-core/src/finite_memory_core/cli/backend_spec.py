"""What stands behind ``--backend``: a registered name, or a function of the user's own."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ..backends import Backend, available_backends, load_backend
from ..errors import ConfigError


def backend_from(spec: str) -> Backend:
    """Return the backend that `spec` names.

    Args:
        spec: what `load_backend` takes, or ``module:name`` where the module is importable, from
            the current directory too. The name may be a backend, a class of backends, or a
            function as `CallableBackend` takes it.

    Raises:
        ConfigError: nothing of that name, or it is no backend and cannot be called.
        MissingExtraError: the distribution that knows the name is not installed.
        BackendError: its loader failed.
    """
    name, _, rest = spec.partition(":")
    if name not in available_backends() and _is_dotted(name) and _is_dotted(rest):
        return _as_backend(_imported(name, rest), spec)
    try:
        return load_backend(spec)
    except ConfigError as error:
        if name in available_backends():
            raise
        raise ConfigError(f"{error}; module:function names a function of your own") from error


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _imported(module: str, names: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that nothing of ours is shadowed by a file that lies here
    try:
        found = import_module(module)
    except Exception as error:
        raise ConfigError(
            f"cannot import {module!r} for the backend: {type(error).__name__}: {error}"
        ) from error
    for name in names.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"module {module!r} has no {names!r} for the backend")
        found = getattr(found, name)
    return found


def _as_backend(found: Any, spec: str) -> Backend:
    if isinstance(found, type) and callable(getattr(found, "stream", None)):
        try:
            found = found()
        except Exception as error:
            raise ConfigError(
                f"backend {spec!r} cannot be made without arguments: "
                f"{type(error).__name__}: {error}"
            ) from error
    if callable(getattr(found, "stream", None)):
        backend: Backend = found
        return backend
    from ..backends.function import CallableBackend  # only where it is used

    return CallableBackend(found)
