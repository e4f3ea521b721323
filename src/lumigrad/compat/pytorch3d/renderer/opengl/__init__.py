"""The rasterizer that PyTorch3D has on OpenGL. Here it needs none, and works on CPU and CUDA."""

from lumigrad.compat.pytorch3d.renderer.opengl.rasterizer_opengl import MeshRasterizerOpenGL

__all__ = ["MeshRasterizerOpenGL"]
