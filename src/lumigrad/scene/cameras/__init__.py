"""Cameras, lens distortion, poses, and other conventions."""
