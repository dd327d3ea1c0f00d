"""The package's own errors: what a caller may catch, and what the command line turns into one sentence.

Wrong arguments of Python functions raise ``ValueError``; these are for the borders of the package, where a file,
a configuration or a data set is not what was expected.
"""


class SamsplError(Exception):
    """Base of every error that this package raises on purpose; its text is one sentence for a person."""


class ConfigError(SamsplError, ValueError):
    """A setting is unknown, out of range or contradicts another one; the command line exits with status 2."""


class DatasetError(SamsplError):
    """A data set, a split list or a pair of image and mask cannot be used."""


class ImageError(SamsplError):
    """An image file or array cannot be read, is too large, or holds values that make no sense."""


class CheckpointError(SamsplError):
    """A weights file is damaged, unsafe, of another layout, or does not fit the network."""


class ExportError(SamsplError):
    """An exported model could not be made or does not agree with the original."""
