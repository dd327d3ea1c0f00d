"""Libraries that come with an extra of the package and are imported when they are needed."""

import importlib
from typing import Any

from samspl.errors import ConfigError


def require(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an extra.

    Raises:
        ConfigError: with the line that installs it, if it is not there or broken.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ConfigError(
            f"{purpose} needs the Python package {module} ({err}); pip install 'samspl[{extra}]'"
        ) from err
