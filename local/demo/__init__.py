"""`./run demo`: the main job on real parts, told while it happens, with the times it took."""
