"""Meshes, points, Gaussians, surfels: plain batched data; and built-in meshes."""
