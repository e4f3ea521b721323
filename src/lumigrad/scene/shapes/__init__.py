"""Meshes, points and Gaussians: plain batched data; and built-in meshes."""
