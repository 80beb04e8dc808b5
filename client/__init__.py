"""What backends are given: the client wheel's own files, its API reference and the check before a release.

``package/`` is what the wheel holds beside the rooms `jobs`, `producers` and `sessions`: the version and the mark
of a typed package. The programs here build the wheel and look at it; nothing of ours imports this room.
"""
