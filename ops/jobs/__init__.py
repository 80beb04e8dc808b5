"""Commands for single jobs: explain one, revive or discard dead ones, cancel waiting or running ones."""
