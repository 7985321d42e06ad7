"""How far a thing has been moved to its goal."""


def share_done(distance: float, way: float, tolerance: float) -> float:
    """How much of a way is done, 0 to 1; 1 within the tolerance of the goal."""
    left = max(distance - tolerance, 0.0) / (way - tolerance)
    return min(max(1.0 - left, 0.0), 1.0)
