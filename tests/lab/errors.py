class LabError(Exception):
    """What failed and why, in one line."""
