"""Drawing MuJoCo scenes without a window."""
