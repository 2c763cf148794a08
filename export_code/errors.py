"""The error of an export that cannot be made."""


class CannotExport(ValueError):
    """The model or the folder cannot be used. The message says what is wrong, where, and what to do."""
