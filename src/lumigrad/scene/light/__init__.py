"""Lights and environments."""
