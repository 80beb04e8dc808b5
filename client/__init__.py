"""Client wheel: its own files, its API reference and the check before a release.

``package/`` is what the wheel holds besides the rooms `jobs`, `producers` and `sessions`: the version and the mark
of a typed package. The programs here build and check the wheel; no other room imports this one.
"""
