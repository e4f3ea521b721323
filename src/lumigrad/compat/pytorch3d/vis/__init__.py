"""Pictures of textures."""

from lumigrad.compat.pytorch3d.vis.texture_vis import texturesuv_image_matplotlib, texturesuv_image_PIL

__all__ = ["texturesuv_image_PIL", "texturesuv_image_matplotlib"]
