"""The whole way on a generated sample, and the pictures of what came out."""

from careamics_denoisplit.demo.whole_way import Demo, DemoSettings, run_demo

__all__ = ["Demo", "DemoSettings", "run_demo"]
