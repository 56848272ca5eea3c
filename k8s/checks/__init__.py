"""Checks of the manifests: rendered by kubectl, compared with schemas, rules and versions.

python -m k8s.checks [FOLDER …]     # overlays; none given: all of them
"""
