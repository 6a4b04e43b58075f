"""Workflows for imagen's ComfyUI backend: graphs with placeholders, and manifests. Data alone."""

__version__ = "0.1.0"
