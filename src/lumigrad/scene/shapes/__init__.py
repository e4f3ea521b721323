"""Meshes, points, Gaussians: plain batched data."""
