"""The pose of a known mesh in photographs: a search over views, then robust least squares from coarse to fine."""

from __future__ import annotations

from lumigrad.fit.pose.estimate import PoseEstimate, PoseWarning
from lumigrad.fit.pose.job import fit_pose, fit_poses, track_pose

__all__ = ["PoseEstimate", "PoseWarning", "fit_pose", "fit_poses", "track_pose"]
