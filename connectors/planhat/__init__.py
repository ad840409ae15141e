"""Planhat."""
