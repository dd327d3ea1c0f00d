"""Infrared small target detection with SAM-SPL.

Names are imported when they are first used, so that ``import samspl`` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samspl import metrics as metrics
    from samspl import models as models
    from samspl.checkpoint import load_model as load_model
    from samspl.inference.detector import Detector as Detector
    from samspl.models.factory import create_model as create_model

__version__ = "0.1.0"

_HOMES = {
    "Detector": "samspl.inference.detector",
    "create_model": "samspl.models.factory",
    "load_model": "samspl.checkpoint",
}
_MODULES = ("metrics", "models")

__all__ = ["Detector", "__version__", "create_model", "load_model", "metrics", "models"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"samspl.{name}")
    raise AttributeError(f"module 'samspl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
