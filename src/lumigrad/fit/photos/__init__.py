"""Shared by all fits to posed photographs: the photographs, their cameras, progress, metrics and pictures."""

from __future__ import annotations

from lumigrad.fit.photos.cameras import flight, focus
from lumigrad.fit.photos.photo import Photo, digest, digests, load_photos

__all__ = ["Photo", "digest", "digests", "flight", "focus", "load_photos"]
