"""Every rule, one family to a file, in reading order."""

from . import alig, authors, gradient, polyak, schedules, sps

__all__ = ["alig", "authors", "gradient", "polyak", "schedules", "sps"]
