"""The error of a quantisation that cannot be made."""


class CannotQuantize(ValueError):
    """The model cannot be quantised. The message says what is wrong, where, and what to do."""
