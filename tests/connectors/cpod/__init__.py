"""The source cpod."""
