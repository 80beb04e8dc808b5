"""Demo: `./run demo` shows the main job on real servers, with the times it took."""
