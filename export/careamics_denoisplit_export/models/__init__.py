"""The published demonstration models: how they are made, measured and described."""

from careamics_denoisplit_export.models.plans import PLANS, ModelPlan

__all__ = ["PLANS", "ModelPlan"]
